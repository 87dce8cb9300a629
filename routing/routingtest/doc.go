// Package routingtest checks that a routing.Selector, anybody's, keeps to the
// contract: what may be returned, when keys may move, and for how many callers
// at once.
//
// It does not judge how well load is spread beyond the coarsest measure, nor
// speed, nor what a Selector does when the storage behind it fails.
//
// Start with Run.
package routingtest
