// Package fleet runs gateways, enclaves and an etcd as processes of their own, which can be killed and brought back, makes
// keys through them meanwhile, and checks that every key that was acknowledged is found and signs; for the tests that kill,
// for placementkills and for demofleet.
// Start reading with Launch; create.go makes keys, verify.go checks them, kills.go has the runs that kill.
package fleet
