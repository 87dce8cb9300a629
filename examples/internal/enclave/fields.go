package enclave

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// faultField is one field of Faults as people write it: a flag, or a key of a JSON object.
type faultField struct {
	name, usage, want string
	isBool            bool
	get               func(Faults) any
	parse             func(*Faults, string) error
}

// set changes the field to what text says, or says what would have been valid.
func (d faultField) set(f *Faults, text string) error {
	if err := d.parse(f, text); err != nil {
		return fmt.Errorf("%s: %q is not valid: want %s", d.name, text, d.want)
	}
	return nil
}

const (
	wantFraction = "a fraction of calls from 0 to 1"
	wantCount    = "a whole number, 0 for never"
	wantBool     = "true or false"
)

var errRange = errors.New("out of range")

var faultFields = []faultField{
	{
		name: "delay", usage: "how long calls wait before they are handled", want: `a duration of 0 or more, such as "50ms"`,
		get: func(f Faults) any { return f.Delay.String() },
		parse: func(f *Faults, s string) (err error) {
			if f.Delay, err = time.ParseDuration(s); err == nil && f.Delay < 0 {
				err = errRange
			}
			return err
		},
	},
	fraction("delay_fraction", "share of calls that wait", func(f *Faults) *float64 { return &f.DelayFraction }),
	fraction("stall_fraction", "share of calls that hang until their deadline", func(f *Faults) *float64 { return &f.StallFraction }),
	{
		name: "refuse_code", usage: "gRPC status code of refused calls", want: `a gRPC status code other than OK, such as "UNAVAILABLE"`,
		get: func(f Faults) any { return codeName(f.RefuseCode) },
		parse: func(f *Faults, s string) (err error) {
			f.RefuseCode, err = parseCode(s)
			return err
		},
	},
	fraction("refuse_fraction", "share of calls answered with refuse_code", func(f *Faults) *float64 { return &f.RefuseFraction }),
	{
		name: "reset_code", usage: "HTTP/2 error code of reset streams", want: `an HTTP/2 error code other than NO_ERROR, such as "INTERNAL_ERROR" or "REFUSED_STREAM"`,
		get: func(f Faults) any { return f.ResetCode.String() },
		parse: func(f *Faults, s string) (err error) {
			f.ResetCode, err = parseErrCode(s)
			return err
		},
	},
	fraction("reset_fraction", "share of calls whose stream is reset", func(f *Faults) *float64 { return &f.ResetFraction }),
	count("drop_every_calls", "close the connection under every n-th call", func(f *Faults) *uint64 { return &f.DropEveryCalls }),
	count("drop_every_conns", "close every n-th connection once accepted", func(f *Faults) *uint64 { return &f.DropEveryConns }),
	boolean("not_serving", "health says NOT_SERVING", func(f *Faults) *bool { return &f.NotServing }),
	boolean("health_too", "health checks meet the faults too", func(f *Faults) *bool { return &f.HealthToo }),
	{
		name: "max_concurrent_streams", usage: "advertise this many streams a connection", want: "a whole number of streams, 0 for the limit at the start",
		get: func(f Faults) any { return f.MaxConcurrentStreams },
		parse: func(f *Faults, s string) error {
			n, err := strconv.ParseUint(s, 10, 32)
			f.MaxConcurrentStreams = uint32(n)
			return err
		},
	},
}

func fraction(name, usage string, at func(*Faults) *float64) faultField {
	return faultField{
		name: name, usage: usage, want: wantFraction,
		get: func(f Faults) any { return *at(&f) },
		parse: func(f *Faults, s string) error {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil || math.IsNaN(v) || v < 0 || v > 1 {
				return errRange
			}
			*at(f) = v
			return nil
		},
	}
}

func count(name, usage string, at func(*Faults) *uint64) faultField {
	return faultField{
		name: name, usage: usage, want: wantCount,
		get: func(f Faults) any { return *at(&f) },
		parse: func(f *Faults, s string) (err error) {
			*at(f), err = strconv.ParseUint(s, 10, 64)
			return err
		},
	}
}

func boolean(name, usage string, at func(*Faults) *bool) faultField {
	return faultField{
		name: name, usage: usage, want: wantBool, isBool: true,
		get: func(f Faults) any { return *at(&f) },
		parse: func(f *Faults, s string) (err error) {
			*at(f), err = strconv.ParseBool(s)
			return err
		},
	}
}

// Flags adds a flag for each field of f to fs: the JSON name with dashes.
func (f *Faults) Flags(fs *flag.FlagSet) {
	*f = f.withDefaults()
	for _, d := range faultFields {
		name := strings.ReplaceAll(d.name, "_", "-")
		usage := fmt.Sprintf("fault: %s; %s (default %v)", d.usage, d.want, d.get(*f))
		set := func(text string) error { return d.set(f, text) }
		if d.isBool {
			fs.BoolFunc(name, usage, set)
		} else {
			fs.Func(name, usage, set)
		}
	}
}

// MarshalJSON writes every field under its name.
func (f Faults) MarshalJSON() ([]byte, error) {
	out := make(map[string]any, len(faultFields))
	for _, d := range faultFields {
		out[d.name] = d.get(f)
	}
	return json.Marshal(out)
}

// LogValue is the fields that differ from those of an enclave that works.
func (f Faults) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, d := range faultFields {
		if v := d.get(f); v != d.get(Faults{}.withDefaults()) {
			attrs = append(attrs, slog.Any(d.name, v))
		}
	}
	if attrs == nil {
		return slog.StringValue("none")
	}
	return slog.GroupValue(attrs...)
}

// patched returns f with the fields changed that patch, a JSON object, names. The error names each
// field that is unknown or has a bad value, and what would be valid.
func (f Faults) patched(patch []byte) (Faults, error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(patch, &values); err != nil || values == nil {
		return f, errors.Join(errors.New(`want a JSON object of faults, such as {"delay":"50ms"}`), err)
	}
	var errs []error
	for _, d := range faultFields {
		raw, ok := values[d.name]
		if !ok {
			continue
		}
		delete(values, d.name)
		text := string(raw)
		if raw[0] == '"' {
			if err := json.Unmarshal(raw, &text); err != nil {
				return f, err
			}
		}
		errs = append(errs, d.set(&f, text))
	}
	for name, raw := range values {
		errs = append(errs, fmt.Errorf("%s: unknown fault (value %s): want one of %s", name, raw, fieldNames()))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return f, errors.Join(errs...)
}

func fieldNames() string {
	names := make([]string, len(faultFields))
	for i, d := range faultFields {
		names[i] = d.name
	}
	return strings.Join(names, ", ")
}
