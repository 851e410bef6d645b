// Package kubernetes holds the manifests of deploy/kubernetes to Kubernetes's own types. It is
// a module of its own, for nothing else needs those.
package kubernetes
