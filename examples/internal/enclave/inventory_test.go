package enclave

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

func TestListKeysGivesEveryNameOnceAndInOrder(t *testing.T) {
	_, address := start(t, Options{})
	cc := dial(t, address, nil)
	signers, inventory := signerv1.NewSignerServiceClient(cc), signerv1.NewInventoryServiceClient(cc)
	var want []string
	for i := range 23 {
		name := fmt.Sprint("k", i)
		create(t, signers, name, edAlg)
		create(t, signers, name, edAlg) // again: no second key
		want = append(want, name)
	}
	slices.Sort(want)
	for _, limit := range []int32{1, 5, 23, 24, 0} {
		var got []string
		for from, more := "", true; more; {
			page, err := inventory.ListKeys(limited(t), &signerv1.ListKeysRequest{From: from, Limit: limit})
			if err != nil {
				t.Fatal(err)
			}
			if limit > 0 && len(page.GetKeyIds()) > int(limit) {
				t.Fatalf("%d names, asked for %d", len(page.GetKeyIds()), limit)
			}
			got, more = append(got, page.GetKeyIds()...), page.GetMore()
			from = got[len(got)-1] + "\x00"
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %q, want %q", limit, got, want)
		}
	}
	create(t, signers, "j", edAlg)
	if page, err := inventory.ListKeys(limited(t), &signerv1.ListKeysRequest{From: "j", Limit: 1}); err != nil || !slices.Equal(page.GetKeyIds(), []string{"j"}) {
		t.Errorf("%v, %v: want the key that was just made", page, err)
	}
	for _, limit := range []int32{-1, 10_001} {
		if _, err := inventory.ListKeys(limited(t), &signerv1.ListKeysRequest{Limit: limit}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}
