package envconfig

import (
	"fmt"
	"strconv"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

const (
	prefix       = "SIGN_CONN_POOL_"
	enclavesName = "SIGNER_ENCLAVES"
)

// variable is one setting under its two names.
type variable struct {
	name  string                 // in the environment
	field string                 // in a pool.FieldError
	at    func(*pool.Config) any // where it is: *int, *float64, *bool or *time.Duration
	off   bool                   // a duration of which 0 switches something off: "off" is 0
}

// variables are all settings but the enclaves, in the order of pool.Config.
var variables = []variable{
	{name: prefix + "MIN", field: "MinConns", at: func(c *pool.Config) any { return &c.MinConns }},
	{name: prefix + "MAX", field: "MaxConns", at: func(c *pool.Config) any { return &c.MaxConns }},
	{name: prefix + "MAX_CONCURRENT_STREAMS", field: "MaxConcurrentStreams",
		at: func(c *pool.Config) any { return &c.MaxConcurrentStreams }},
	{name: prefix + "MAX_WAITERS", field: "MaxWaiters", at: func(c *pool.Config) any { return &c.MaxWaiters }},
	{name: prefix + "ACQUIRE_TIMEOUT", field: "AcquireTimeout", off: true,
		at: func(c *pool.Config) any { return &c.AcquireTimeout }},
	{name: prefix + "REQUEST_TIMEOUT", field: "RequestTimeout", off: true,
		at: func(c *pool.Config) any { return &c.RequestTimeout }},
	{name: prefix + "DIAL_TIMEOUT", field: "DialTimeout", at: func(c *pool.Config) any { return &c.DialTimeout }},
	{name: prefix + "MAX_CONN_AGE", field: "MaxConnAge", off: true,
		at: func(c *pool.Config) any { return &c.MaxConnAge }},
	{name: prefix + "KEEPALIVE_TIME", field: "Keepalive.Time", off: true,
		at: func(c *pool.Config) any { return &c.Keepalive.Time }},
	{name: prefix + "KEEPALIVE_TIMEOUT", field: "Keepalive.Timeout",
		at: func(c *pool.Config) any { return &c.Keepalive.Timeout }},
	{name: prefix + "KEEPALIVE_PERMIT_WITHOUT_STREAM", field: "Keepalive.PermitWithoutStream",
		at: func(c *pool.Config) any { return &c.Keepalive.PermitWithoutStream }},
	{name: prefix + "BACKOFF_INITIAL", field: "Reconnect.Initial",
		at: func(c *pool.Config) any { return &c.Reconnect.Initial }},
	{name: prefix + "BACKOFF_MAX", field: "Reconnect.Max", at: func(c *pool.Config) any { return &c.Reconnect.Max }},
	{name: prefix + "BACKOFF_MULTIPLIER", field: "Reconnect.Multiplier",
		at: func(c *pool.Config) any { return &c.Reconnect.Multiplier }},
	{name: prefix + "BACKOFF_JITTER", field: "Reconnect.Jitter",
		at: func(c *pool.Config) any { return &c.Reconnect.Jitter }},
	{name: prefix + "BACKOFF_BUDGET", field: "Reconnect.Budget",
		at: func(c *pool.Config) any { return &c.Reconnect.Budget }},
	{name: prefix + "HEALTH_INTERVAL", field: "Health.Interval",
		at: func(c *pool.Config) any { return &c.Health.Interval }},
	{name: prefix + "HEALTH_TIMEOUT", field: "Health.Timeout",
		at: func(c *pool.Config) any { return &c.Health.Timeout }},
	{name: prefix + "HEALTH_FAILURE_THRESHOLD", field: "Health.FailureThreshold",
		at: func(c *pool.Config) any { return &c.Health.FailureThreshold }},
	{name: prefix + "HEALTH_COOLDOWN", field: "Health.Cooldown",
		at: func(c *pool.Config) any { return &c.Health.Cooldown }},
	{name: prefix + "HEALTH_DISABLED", field: "Health.Disabled",
		at: func(c *pool.Config) any { return &c.Health.Disabled }},
}

// put reads text into cfg. want is what text should have been, empty when it
// was that; whether the value is in range is for the pool to say.
func (v variable) put(cfg *pool.Config, text string) (want string) {
	var err error
	switch p := v.at(cfg).(type) {
	case *int:
		want = "a whole number"
		err = parseInto(p, text, strconv.Atoi)
	case *float64:
		want = "a number, such as 1.5"
		err = parseInto(p, text, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	case *bool:
		want = "true or false"
		err = parseInto(p, text, parseBool)
	case *time.Duration:
		want = "a duration with its unit, such as 250ms or 30s"
		if v.off {
			want += ", or off"
			if text == "off" {
				text = "0"
			}
		}
		err = parseInto(p, text, time.ParseDuration)
	default:
		panic(fmt.Sprintf("envconfig: %s is a %T", v.name, p)) // a mistake in the table, which a test finds
	}
	if err != nil {
		return want
	}
	return ""
}

// parseInto leaves p alone when text is not valid.
func parseInto[T any](p *T, text string, parse func(string) (T, error)) error {
	v, err := parse(text)
	if err == nil {
		*p = v
	}
	return err
}

// parseBool is stricter than strconv.ParseBool: with 1, t and T among the valid
// values, yes and on would be expected to be.
func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, strconv.ErrSyntax
}
