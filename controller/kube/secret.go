package kube

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/ambitmesh/ambit/controller/ca"
)

// Secret is a ca.Store. The replica that comes first makes it; nobody ever replaces a root that is there.
type Secret struct {
	Client kubernetes.Interface
	Name   types.NamespacedName
}

var _ ca.Store = Secret{}

// labels mark what the controller makes.
func labels() map[string]string {
	return map[string]string{"app.kubernetes.io/part-of": "ambit", "app.kubernetes.io/managed-by": "ambit-controller"}
}

// Read implements ca.Store.
func (s Secret) Read(ctx context.Context) (map[string][]byte, string, error) {
	got, err := s.Client.CoreV1().Secrets(s.Name.Namespace).Get(ctx, s.Name.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read Secret %s: %w", s.Name, err)
	}
	return got.Data, got.ResourceVersion, nil
}

// Write implements ca.Store. Of a Secret that the user has made the other keys stay.
func (s Secret) Write(ctx context.Context, stateFile []byte, version string) (string, error) {
	secrets := s.Client.CoreV1().Secrets(s.Name.Namespace)
	if version == "" {
		made, err := secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.Name.Namespace, Name: s.Name.Name, Labels: labels()},
			Type:       corev1.SecretTypeOpaque, Data: map[string][]byte{ca.StateFile: stateFile},
		}, metav1.CreateOptions{})
		if err != nil {
			return "", s.moved("make", err)
		}
		return made.ResourceVersion, nil
	}
	got, err := secrets.Get(ctx, s.Name.Name, metav1.GetOptions{})
	if err != nil {
		return "", s.moved("read", err)
	}
	if got.ResourceVersion != version {
		return "", fmt.Errorf("write Secret %s: %w", s.Name, ca.ErrMoved)
	}
	next := got.DeepCopy()
	next.Data = maps.Clone(got.Data)
	if next.Data == nil {
		next.Data = map[string][]byte{}
	}
	next.Data[ca.StateFile] = stateFile
	if next, err = secrets.Update(ctx, next, metav1.UpdateOptions{}); err != nil {
		return "", s.moved("write", err)
	}
	return next.ResourceVersion, nil
}

// moved marks errors that say that another one was faster.
func (s Secret) moved(what string, err error) error {
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return fmt.Errorf("%s Secret %s: %w: %w", what, s.Name, ca.ErrMoved, err)
	}
	return fmt.Errorf("%s Secret %s: %w", what, s.Name, err)
}
