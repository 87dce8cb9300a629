#!/usr/bin/env bash
# Runs the tests that need AF_VSOCK, and the demo, on real AF_VSOCK: in a small virtual machine with the vsock
# loopback (CID 1), because a developer's machine, a container or a CI runner usually has none. Needs no
# privileges but those to install missing packages, no network card, and no KVM (it is used when it works).
#
#   scripts/test-vsock.sh                                   everything in the list below
#   scripts/test-vsock.sh 'test . ./internal/target 60'     only the entries given
#
# Fails when a program does not build, exits non-zero, outlives its time limit, runs no test or accepts no AF_VSOCK
# connection, and when the guest panics or hangs. Tests see ENCLAVEPOOL_VSOCK=required: fail rather than skip
# where AF_VSOCK is missing. ENCLAVEPOOL_BIN is the folder with all the programs. The working folder is writable
# and has a copy of the package's testdata.
#
#   ENCLAVEPOOL_VM_ACCEL=tcg|kvm   force software emulation, or KVM (default: KVM when a probe boots, else tcg)
#   ENCLAVEPOOL_VM_TIMEOUT=300     time limit for the VM in seconds
#   ENCLAVEPOOL_VM_MEMORY=2048     MiB
#
# Kept in .cache/vsock/: the kernel (delete the folder to fetch a newer one) and the last run's vm.log (programs)
# and kernel.log.
set -euo pipefail

# KIND MODULE-FOLDER PACKAGE [LIMIT-SECONDS [ARGUMENTS…]]
#   test   a package's tests; arguments such as -test.run=Vsock are added to -test.v
#   build  a program that others start, found in the folder of the one that starts it
#   run    a program that is itself a test: exit status 0 is a pass
programs=(
	"test  .        ./internal/target 60"
	"test  .        ./internal/h2tap  60  -test.run=Vsock|ReadOnReady"
	"test  .        ./pool            120 -test.run=Vsock"
	"test  examples ./internal/e2e    180 -test.skip=Documented" # those compare documents and source, which are not in the VM
	"build examples ./enclave"
	"build examples ./gateway"
	"build examples ./loadgen"
	"run   examples ./demo            90  -duration 8s"
)

say() { printf 'test-vsock: %s\n' "$*"; }
fail() {
	printf 'test-vsock: %s\n' "$*" >&2
	exit 1
}

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/vsock-vm/packages.sh
. "$root/scripts/vsock-vm/packages.sh"
# shellcheck source=scripts/vsock-vm/build.sh
. "$root/scripts/vsock-vm/build.sh"

# boot LIMIT-SECONDS INITRD KERNEL-LOG ACCEL [KERNEL-ARGUMENTS] runs the VM; the guest's second serial line is stdout.
boot() {
	# panic=-1 with -no-reboot ends QEMU at once on a panic; oops=panic makes a kernel bug one.
	timeout --foreground --kill-after=5 "$1" qemu-system-x86_64 -accel "$4" -cpu "$([[ $4 == kvm ]] && echo host || echo max)" -smp 2 -m "$memory" \
		-display none -monitor none -nic none -no-reboot \
		-serial "file:$3" -serial stdio -kernel "$kernel" -initrd "$2" \
		-append "console=ttyS0 quiet panic=-1 oops=panic ${5:-}" </dev/null
}

# choose_accel prints kvm when a bare VM boots with it, else tcg: an openable /dev/kvm may still not work.
choose_accel() {
	if [[ -r /dev/kvm && -w /dev/kvm ]]; then
		local said
		said=$(boot 8 "$work/base.cpio" "$work/probe.log" kvm vsock_vm=probe 2>/dev/null | tr -d '\r') || true
		if [[ $said == *"@@vsock booted"* ]]; then
			echo kvm
			return
		fi
	fi
	echo tcg
}

[[ $(uname -s)-$(uname -m) == Linux-x86_64 ]] ||
	fail "only Linux on amd64 is supported, this is $(uname -s) on $(uname -m)"
command -v go >/dev/null || fail "needs go"
[[ $# -eq 0 ]] || programs=("$@")
accel=${ENCLAVEPOOL_VM_ACCEL:-}
[[ $accel =~ ^(|kvm|tcg)$ ]] || fail "ENCLAVEPOOL_VM_ACCEL is $accel, want kvm or tcg"
limit=${ENCLAVEPOOL_VM_TIMEOUT:-300}
memory=${ENCLAVEPOOL_VM_MEMORY:-2048}

cache=$root/.cache/vsock
mkdir -p "$cache"
need_packages
need_kernel "$cache"

work=$(mktemp -d "$cache/run.XXXXXX")
trap 'rm -rf "$work"' EXIT
image=$work/programs
mkdir -p "$work/base/bin" "$work/base/modules" "$image/t"
cp "$(static_busybox)" "$work/base/bin/busybox"
cp "$root/scripts/vsock-vm/init" "$work/base/init"
chmod 755 "$work/base/init"
for module in vsock vmw_vsock_virtio_transport_common vsock_loopback; do
	unpack_module "$module" "$work/base/modules"
done
pack "$work/base" "$work/base.cpio"

say "building ${#programs[@]} programs"
: >"$image/t/plan"
for entry in "${programs[@]}"; do build_entry "$entry"; done
planned=$(wc -l <"$image/t/plan")
[[ $planned -gt 0 ]] || fail "the list has nothing to run"
pack "$image" "$work/programs.cpio"
cat "$work/base.cpio" "$work/programs.cpio" >"$work/all.cpio" # the kernel unpacks archives one after another

[[ -n $accel ]] || accel=$(choose_accel)
say "booting $(basename "$kernel") with $accel, limit ${limit}s"
began=$SECONDS
status=0
# A stray carriage return would break the verdicts; tr is not used because it would hold lines back.
{ boot "$limit" "$work/all.cpio" "$work/kernel.log" "$accel" 2>&1 || echo $? >"$work/status"; } |
	sed -u 's/\r$//' | tee "$cache/vm.log" || status=1
cp "$work/kernel.log" "$cache/kernel.log" 2>/dev/null || true

awk -v planned="$planned" -f "$root/scripts/vsock-vm/summary.awk" "$cache/vm.log" || status=1
if [[ -s $work/status ]]; then
	status=1
	case $(<"$work/status") in
	124 | 137) echo "FAILED: the VM was stopped after its ${limit}s" ;;
	*) echo "FAILED: QEMU ended with status $(<"$work/status")" ;;
	esac
fi
if [[ $status -ne 0 && -s $cache/kernel.log ]]; then
	echo "== kernel"
	# From the first sign of trouble on, or else the end.
	tr -d '\r' <"$cache/kernel.log" |
		awk '/panic|BUG:|Oops|[Oo]ut of memory/ { bad = 1 } bad && n < 40 { print; n++ } { last = $0 } END { if (!bad) print last }'
fi
say "$([[ $status -eq 0 ]] && echo PASS || echo FAIL) with $accel: VM $((SECONDS - began))s, all ${SECONDS}s"
exit "$status"
