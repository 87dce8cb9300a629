package boltdir_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/enclavepool/enclavepool/routing/boltdir"
)

func ExampleOpen() {
	folder, err := os.MkdirTemp("", "places")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	directory, err := boltdir.Open(filepath.Join(folder, "places.db"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer directory.Close()
	p, placed, err := directory.Place(context.Background(), "invoice-7", "enclave-0")
	fmt.Println(p.EnclaveID, placed, err)
	// Output: enclave-0 true <nil>
}
