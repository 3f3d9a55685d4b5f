// Package auth says who calls the controller: a node by the certificate that it joined with, a workload by
// its certificate, or, in a cluster, a service account by its projected token.
//
// A node, and the proxy that runs on one, may have the identities of that node's pods and the mesh's
// configuration. Everybody else may have its own identity and nothing more.
package auth
