// Package operations holds the documents of those who run a gateway to a running one: every command of docs/runbook is run,
// with what it should print beside it, and the table of metrics in docs/observability is compared with the page.
// It has tests alone, and needs bash and curl; start reading with runbook_test.go. That rules and dashboard use only names
// of that table is checked by the module docs/check.
package operations
