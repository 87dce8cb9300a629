package target_test

import (
	"fmt"

	"github.com/enclavepool/enclavepool/internal/target"
)

func ExampleParse() {
	for _, s := range []string{"vsock://16:5000", "unix:///run/b.sock", "signer.example.com:443"} {
		t, err := target.Parse(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%v: network %s, stays on this machine: %v\n", t, t.Network(), t.Local())
	}
	_, err := target.Parse("vsock:2:5000")
	fmt.Println(err)
	// Output:
	// vsock:16:5000: network vsock, stays on this machine: true
	// unix:/run/b.sock: network unix, stays on this machine: true
	// signer.example.com:443: network tcp, stays on this machine: false
	// target "vsock:2:5000": CID "2" is the host, not an enclave (from inside a Nitro enclave the parent is CID 3); a valid target is vsock:16:5000
}
