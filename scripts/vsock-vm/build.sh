# shellcheck shell=bash
# shellcheck disable=SC2154 # $root (the repository) and $image (the folder to pack) are set by test-vsock.sh
# Builds the programs of the list and packs them for the test VM. Sourced by test-vsock.sh.

# go_static runs go in module folder $1 for the VM, with no C library. Version stamps are left out: git refuses to
# give them in a container where someone else owns the checkout.
go_static() {
	local module=$1
	shift
	(cd "$root/$module" && GOFLAGS="${GOFLAGS:-} -buildvcs=false" CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go "$@")
}

# build_entry builds one list entry into $image/t and, unless it is only a file for others, adds it to the plan.
build_entry() {
	local kind module package limit path name
	local -a arguments
	read -r kind module package limit <<<"$1"
	read -r -a arguments <<<"$limit"
	limit=${arguments[0]:-}
	arguments=("${arguments[@]:1}")
	[[ -f $root/$module/go.mod ]] || fail "$1: no go.mod in $module"
	path=$(go_static "$module" list -e -f '{{if .Error}}{{else}}{{.ImportPath}}{{end}}' "$package")
	[[ -n $path ]] || fail "$1: no such package"
	case $kind in
	test)
		[[ $limit =~ ^[0-9]+$ ]] || fail "$1: the time limit in seconds is missing"
		local tests
		tests=$(go_static "$module" list -f '{{len .TestGoFiles}}{{len .XTestGoFiles}}' "$package")
		[[ $tests != 00 ]] || fail "$1: the package has no tests"
		name=$module/${package#./}.test
		name=${name#./}
		name=${name//\//-}
		go_static "$module" test -c -ldflags='-s -w' -o "$image/t/$name" "$package" || fail "$1: does not build"
		if [[ -d $root/$module/$package/testdata ]]; then # tests read it relative to their working folder
			mkdir -p "$image/t/data/$name"
			cp -r "$root/$module/$package/testdata" "$image/t/data/$name/"
		fi
		;;
	build | run)
		[[ $kind == build || $limit =~ ^[0-9]+$ ]] || fail "$1: the time limit in seconds is missing"
		name=${package##*/} # programs find each other by this name
		go_static "$module" build -ldflags='-s -w' -o "$image/t/$name" "$package" || fail "$1: does not build"
		;;
	*) fail "$1: a list entry begins with test, build or run" ;;
	esac
	[[ -x $image/t/$name ]] || fail "$1: no program came out (is it package main?)"
	if [[ $kind != build ]]; then
		printf '%s %s %s %s %s\n' "$name" "$kind" "$limit" "$path" "${arguments[*]}" >>"$image/t/plan"
	fi
}

# pack writes folder $1 as an initramfs to $2.
pack() {
	(cd "$1" && find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) >"$2"
}
