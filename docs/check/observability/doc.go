// Package observability holds docs/observability to what it promises: rules that promtool accepts and whose tests pass, a
// test for and against every alert, a dashboard that can be imported, and queries that use only what the gateway exports.
// That the table of metrics is the gateway's own page is checked in the examples module, which can start one.
// It has tests alone; start reading with rules_test.go.
package observability
