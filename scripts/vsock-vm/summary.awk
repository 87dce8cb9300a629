# Reads what the VM wrote (verdict lines and program output), prints what ran, and exits 1 unless every planned
# program ran to its end, succeeded, and really used AF_VSOCK. -v planned=N: how many programs there should be.

function plural(n, word) { return n " " word (n == 1 ? "" : "s") }

$1 == "@@vsock" && $2 == "start" {
	running = $3
	pass = fail = skip = 0
	started++
	next
}

# Names are printed with the indentation of their test; only top-level ones are counted as tests.
running != "" && /^--- PASS: / { pass++ }
running != "" && /^--- FAIL: / { fail++ }
running != "" && /^--- SKIP: / { skip++ }
running != "" && /^ *--- SKIP: / { skipped[++skips] = running ": " $3 }
running != "" && /^ *--- FAIL: / { problem[++problems] = running ": " $3 " failed" }

$1 == "@@vsock" && $2 == "end" && $3 == running {
	status = $4
	connections = $6
	line = sprintf("  %-28s", running)
	if (running ~ /\.test$/) {
		line = line sprintf(" %d passed, %d failed, %d skipped,", pass, fail, skip)
		if (pass + fail == 0) problem[++problems] = running ": no test ran"
	}
	line = line sprintf(" exit status %s, %ss, %s over AF_VSOCK", status, $5,
		connections == "?" ? "connections not counted" : plural(connections, "connection"))
	report[++ended] = line
	passed += pass; failed += fail; skippedTop += skip
	if (status !~ /^[0-9]+$/ || status != 0) problem[++problems] = running ": exit status " status
	if (connections == "0") problem[++problems] = running ": accepted no AF_VSOCK connection"
	running = ""
	next
}

$1 == "@@vsock" && $2 == "done" { done = 1; said = $3 }

END {
	print "== vsock VM summary"
	for (i = 1; i <= ended; i++) print report[i]
	printf "  %d of %s ended; tests: %d passed, %d failed, %d skipped\n", ended, plural(planned, "program"), passed, failed, skippedTop
	for (i = 1; i <= skips; i++) print "SKIPPED in the VM: " skipped[i]
	if (running != "") problem[++problems] = running ": started and never ended"
	if (!done) problem[++problems] = "no final verdict: the VM panicked, hung or ran out of time"
	else if (ended != planned || said != planned) problem[++problems] = "not every planned program ran"
	for (i = 1; i <= problems; i++) print "FAILED: " problem[i]
	exit problems > 0
}
