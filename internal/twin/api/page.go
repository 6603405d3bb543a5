package api

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// pageAfter returns the items of one page: those after the one whose key is the marker, at most limit of them, and the
// marker of the page after it, "" at the end. found is false if the marker names no item.
func pageAfter[T any](items []T, key func(T) string, marker string, limit int) (page []T, next string, found bool) {
	start := 0
	if marker != "" {
		n := slices.IndexFunc(items, func(i T) bool { return key(i) == marker })
		if n < 0 {
			return nil, "", false
		}
		start = n + 1
	}
	end := min(len(items), start+limit)
	page = items[start:end]
	if end < len(items) && len(page) > 0 {
		next = key(page[len(page)-1])
	}
	return page, next, true
}

// pick returns the items whose keys are named, in the items' order; no names means all. missing lists names without
// an item. An item may be named by any of its keys.
func pick[T any](items []T, names []string, keys func(T) []string) (found []T, missing []string) {
	if len(names) == 0 {
		return items, nil
	}
	seen := map[string]bool{}
	for _, i := range items {
		for _, k := range keys(i) {
			if slices.Contains(names, k) {
				seen[k] = true
				found = append(found, i)
				break
			}
		}
	}
	for _, n := range names {
		if !seen[n] {
			missing = append(missing, n)
		}
	}
	return found, missing
}

// lastPart is what follows the last slash of an ARN or path.
func lastPart(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

// inRegionOf returns the items of a region.
func inRegionOf[T any](items []T, region string, regionOf func(T) string) []T {
	var out []T
	for _, i := range items {
		if regionOf(i) == region {
			out = append(out, i)
		}
	}
	return out
}

// sortedNames lists a map's keys.
func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// firstSet names the first member of an SDK struct that is not zero, "" if all are.
func firstSet(v any) string {
	value := reflect.ValueOf(v)
	for _, f := range reflect.VisibleFields(value.Type()) {
		if f.IsExported() && !value.FieldByIndex(f.Index).IsZero() {
			return f.Name
		}
	}
	return ""
}
