# shellcheck shell=bash
# What the test VM is made of: Debian packages, the kernel and the vsock modules. Sourced by test-vsock.sh.

updated=no
update_once() { # update_once refreshes the package lists at most once a run; only root can.
	if [[ $updated == no ]]; then
		apt-get update -qq >/dev/null
		updated=yes
	fi
}

# static_busybox prints the path of a statically linked busybox.
static_busybox() {
	local path
	path=$(command -v busybox) || return 1
	if LC_ALL=C ldd "$path" >/dev/null 2>&1; then return 1; fi # ldd succeeds only on a dynamic one
	printf '%s\n' "$path"
}

# need_packages makes sure that every host program is there, installing what is missing when root.
need_packages() {
	local missing=()
	command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
	static_busybox >/dev/null || missing+=(busybox-static)
	command -v cpio >/dev/null || missing+=(cpio)
	command -v dpkg >/dev/null || missing+=(dpkg)
	[[ ${#missing[@]} -eq 0 ]] && return
	if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
		fail "missing Debian packages; install them with: sudo apt-get install -y --no-install-recommends ${missing[*]}"
	fi
	say "installing ${missing[*]}"
	update_once || say "the package lists could not be refreshed; trying with those at hand"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
		fail "apt-get could not install ${missing[*]}"
	static_busybox >/dev/null || fail "busybox is still not a static binary"
}

# concrete_kernel prints the package that linux-image-cloud-amd64 stands for today.
concrete_kernel() {
	LC_ALL=C apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }'
}

# need_kernel sets $kernel (a bzImage) and $modules (a folder with the vsock modules). The package is only
# downloaded and unpacked into $1, never installed, and found there again on the next run.
need_kernel() {
	local root=$1/kernel package fresh
	if [[ ! -e $root/complete ]]; then
		command -v apt-get >/dev/null || fail "needs apt-get to download linux-image-cloud-amd64"
		package=$(concrete_kernel)
		if [[ -z $package && $(id -u) -eq 0 ]]; then
			update_once || true
			package=$(concrete_kernel)
		fi
		[[ -n $package ]] || fail "apt knows no linux-image-cloud-amd64; try: sudo apt-get update" \
			"(Debian only; elsewhere run this in a Debian container)"
		say "downloading $package"
		fresh=$(mktemp -d "$1/kernel.XXXXXX")
		(
			cd "$fresh"
			options=()
			# As root apt would drop to a user that may not be able to write here, and say so at length.
			[[ $(id -u) -ne 0 ]] || options=(-o APT::Sandbox::User=root)
			if ! apt-get -qq "${options[@]}" download "$package"; then
				[[ $(id -u) -eq 0 ]] || exit 1
				apt-get update -qq && apt-get -qq "${options[@]}" download "$package" # lists were out of date
			fi
			dpkg -x ./*.deb .
			rm -f ./*.deb
			touch complete
		) || fail "could not download and unpack $package"
		rm -rf "$root"
		# Two runs at once may both have come here; either's copy will do.
		mv -T "$fresh" "$root" 2>/dev/null || rm -rf "$fresh"
	fi
	kernel=$(find "$root/boot" -name 'vmlinuz-*' -print -quit)
	modules=$(find "$root" -type d -path '*/kernel/net/vmw_vsock' -print -quit)
	[[ -f $kernel && -d $modules ]] || fail "no kernel or vsock modules in $root; delete it and run again"
}

# unpack_module copies module $1 from $modules into folder $2 as plain .ko, whatever it is compressed with.
unpack_module() {
	local from
	from=$(find "$modules" -name "$1.ko*" -print -quit)
	case $from in
	*.ko) cp "$from" "$2/$1.ko" ;;
	*.ko.xz) xz -dc "$from" >"$2/$1.ko" ;;
	*.ko.zst) zstd -qdc "$from" >"$2/$1.ko" ;;
	*.ko.gz) gzip -dc "$from" >"$2/$1.ko" ;;
	*) fail "no module $1 in $modules" ;;
	esac
}
