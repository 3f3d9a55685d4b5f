package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// RootKey is the key of the trust bundle, in PEM.
const RootKey = "root.pem"

// Bundle is the ConfigMap by which proxies trust the controller.
type Bundle struct {
	Client kubernetes.Interface
	Name   types.NamespacedName
}

// Create makes the ConfigMap if there is none. Any replica may: a bundle that is there stays.
func (b Bundle) Create(ctx context.Context, pem string) error {
	_, err := b.Client.CoreV1().ConfigMaps(b.Name.Namespace).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Name.Namespace, Name: b.Name.Name, Labels: labels()},
		Data:       map[string]string{RootKey: pem},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make ConfigMap %s: %w", b.Name, err)
	}
	return nil
}

// Publish makes the ConfigMap say pem. For the holder of the lease: another replica may be behind.
func (b Bundle) Publish(ctx context.Context, pem string) error {
	maps := b.Client.CoreV1().ConfigMaps(b.Name.Namespace)
	got, err := maps.Get(ctx, b.Name.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return b.Create(ctx, pem)
	}
	if err != nil {
		return fmt.Errorf("read ConfigMap %s: %w", b.Name, err)
	}
	if got.Data[RootKey] == pem {
		return nil
	}
	next := got.DeepCopy()
	if next.Data == nil {
		next.Data = map[string]string{}
	}
	next.Data[RootKey] = pem
	if _, err := maps.Update(ctx, next, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("write ConfigMap %s: %w", b.Name, err)
	}
	return nil
}
