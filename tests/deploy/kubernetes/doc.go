// Package kubernetes checks the manifests of deploy/kubernetes against Kubernetes's own
// types. It is a separate module because nothing else needs them.
package kubernetes
