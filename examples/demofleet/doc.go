// Command demofleet shows a fleet at work: an etcd of three members, two gateways that share it, four enclaves, and callers
// that make keys and sign through both gateways, while an enclave joins, one is drained and resumed, and a gateway and an
// etcd member are killed (SIGKILL) and come back. At the end every key that was acknowledged has to sign through either
// gateway. It ends by itself, in a little more than a minute, and with exit code 1 when a promise was broken.
// It is no benchmark. Start reading with run in main.go, then play in play.go.
package main
