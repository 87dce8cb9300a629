// Package browser tests the gateway's status page in headless Chromium: enclaves and a gateway as processes, and the page
// as somebody at a screen or a phone sees it.
// It has no code but tests. Where there is no Chromium they fail if CI is set in the environment or ENCLAVEPOOL_TOOLS is
// "required", and are skipped elsewhere.
// Start reading with live_test.go; screenshots_test.go makes the pictures in docs.
package browser
