// Command placementkills kills gateways and etcd members (SIGKILL) at random points while thousands of keys are made, brings
// them back, and then has every key that was acknowledged found and sign through every gateway; again and again, with a table
// at the end. `make placement-kills` runs it; the tests of package internal/fleet are its short form.
// Start reading with run in main.go.
package main
