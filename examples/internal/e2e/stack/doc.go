// Package stack starts fake enclaves and the gateway as processes of their own, looks into them through their control
// and metrics endpoints, and ends them with the program that started them; for the demo and the end-to-end tests.
// It makes no calls and judges nothing: what is signed, broken and expected is its user's business.
// Start reading with Launch.
package stack
