// Package kubernetes holds docs/deploy/kubernetes to the types of the Kubernetes API, to what the gateway understands and to
// each other.
// It has tests alone and asks no cluster; start reading with manifests_test.go.
package kubernetes
