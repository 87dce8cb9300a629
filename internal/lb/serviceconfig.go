package lb

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ServiceConfig merges a user's gRPC service config (JSON, may be empty) with
// what this package needs: its own policy, which may not be replaced, and a
// budget for retries where the user's config has none.
func ServiceConfig(user string) (string, error) {
	merged := map[string]json.RawMessage{}
	if user != "" {
		if err := json.Unmarshal([]byte(user), &merged); err != nil {
			return "", fmt.Errorf("service config is not a JSON object: %w", err)
		}
		if merged == nil { // the JSON text "null"
			return "", errors.New("service config is null, want a JSON object or an empty string")
		}
	}
	for _, key := range []string{"loadBalancingConfig", "loadBalancingPolicy"} {
		if _, ok := merged[key]; ok {
			return "", fmt.Errorf("service config has %s: calls are balanced by the pool, remove it", key)
		}
	}
	merged["loadBalancingConfig"] = json.RawMessage(`[{"` + policyName + `":{}}]`)
	if _, ok := merged["retryThrottling"]; !ok {
		// Retries stop while more than about one call in ten fails; a burst of
		// 500 failures, such as a lost connection full of calls, is allowed for.
		merged["retryThrottling"] = json.RawMessage(`{"maxTokens":1000,"tokenRatio":0.1}`)
	}
	out, err := json.Marshal(merged)
	return string(out), err
}
