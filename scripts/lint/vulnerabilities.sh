# shellcheck shell=bash
# shellcheck disable=SC2154 # $vulndb and $govulncheck are set by lint.sh
# Known vulnerabilities, where the database can be reached. Sourced by lint.sh.

# not_checked says why there is no answer; that is a failure only where one was demanded.
not_checked() {
	echo "govulncheck: $1, not checked"
	[[ ${ENCLAVEPOOL_LINT_VULN:-} != required ]]
}

# database_answers asks the database for its index once a run, with a time limit.
database_answers() {
	if [[ -z ${database:-} ]]; then
		database=no
		if ! command -v curl >/dev/null; then
			database=yes # govulncheck finds out by itself, only more slowly
		elif curl --silent --fail --location --max-time 15 --output /dev/null "$vulndb/index/db.json"; then
			database=yes
		fi
	fi
	[[ $database == yes ]]
}

# vulnerabilities fails on findings in a module, and when govulncheck fails for a reason of its own.
vulnerabilities() {
	local path said status=0
	database_answers || {
		not_checked "database not reachable"
		return
	}
	path=$(tool "$govulncheck") || return
	said=$(in_module "$1" timeout --kill-after=5 180 "$path" -db "$vulndb" ./... 2>&1) || status=$?
	case $status in
	0) ;;
	124 | 137) not_checked "no answer within 180s" ;;
	*)
		# 3 means findings. Anything else is an error, and the network may have gone since the probe.
		if [[ $status -ne 3 && $said == *"fetching vulnerabilities"* ]]; then
			printf '%s\n' "$said"
			not_checked "database not reachable"
			return
		fi
		printf '%s\n(exit status %d)\n' "$said" "$status"
		return 1
		;;
	esac
}
