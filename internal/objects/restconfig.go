package objects

import (
	"fmt"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// APIConfig reads --source kube (the pod's own service account) and kube:<kubeconfig>. It reports false
// if source is neither.
func APIConfig(source string) (*rest.Config, bool, error) {
	if source == "kube" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, true, fmt.Errorf("source %s: %w", source, err)
		}
		return cfg, true, nil
	}
	file, ok := strings.CutPrefix(source, "kube:")
	if !ok || file == "" {
		return nil, false, nil
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, true, fmt.Errorf("source %s: %w", source, err)
	}
	return cfg, true, nil
}
