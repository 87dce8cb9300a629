// Package reconcile compares what a placement directory says with the keys that the enclaves have, and repairs the
// directory where it can. It makes no key, moves none and removes none: of the two the enclaves are right.
// Start reading with Run; compare.go says what a difference is, merge.go walks through all keys in order.
package reconcile
