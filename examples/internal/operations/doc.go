// Package operations holds the runbook to a running gateway: every command of docs/runbook is run, and what it prints is
// compared with what the runbook shows.
// It has tests alone, and needs bash and curl; start reading with runbook_test.go. Alerts and dashboard, Kubernetes and kubectl
// are for the module docs/check.
package operations
