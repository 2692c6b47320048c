package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	clientset "github.com/cert-manager/cert-manager/pkg/client/clientset/versioned"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// Which root certificate the ACME server had when a ClusterIssuer registered its account there.
const annotation = "tenantry.test/acme-root"

// account makes ClusterIssuers register again with an ACME server that has forgotten them. Pebble keeps everything in
// memory and has a new root at each start; cert-manager trusts what it once registered and would fail every order.
type account struct{ root, bundle string }

func (a account) keep(ctx context.Context, client clientset.Interface) {
	for tick := time.NewTicker(time.Second); ; {
		if err := a.check(ctx, client); err != nil {
			klog.V(2).InfoS("cannot compare the ACME server's root yet", "reason", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a account) check(ctx context.Context, client clientset.Interface) error {
	root, err := a.fingerprint(ctx)
	if err != nil {
		return err
	}
	issuers, err := client.CertmanagerV1().ClusterIssuers().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, issuer := range issuers.Items {
		if issuer.Spec.ACME == nil || issuer.Annotations[annotation] == root {
			continue
		}
		if issuer.Annotations[annotation] != "" {
			issuer.Status = cmapi.IssuerStatus{}
			if _, err := client.CertmanagerV1().ClusterIssuers().UpdateStatus(ctx, &issuer, metav1.UpdateOptions{}); err != nil {
				return err
			}
			klog.InfoS("the ACME server has a new root: registering again", "issuer", issuer.Name)
		}
		if err := a.annotate(ctx, client, issuer.Name, root); err != nil {
			return err
		}
	}
	return nil
}

func (a account) annotate(ctx context.Context, client clientset.Interface, name, root string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, annotation, root)
	_, err := client.CertmanagerV1().ClusterIssuers().Patch(ctx, name, "application/merge-patch+json", patch, metav1.PatchOptions{})
	return err
}

func (a account) fingerprint(ctx context.Context) (string, error) {
	authority, err := os.ReadFile(a.bundle)
	if err != nil {
		return "", err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.root, nil)
	if err != nil {
		return "", err
	}
	answer, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %v", a.root, answer.Status, err)
	}
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:8]), nil
}
