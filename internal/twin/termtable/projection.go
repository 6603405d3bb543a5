package termtable

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// parseProjection reads a ProjectionExpression.
func parseProjection(source string, s *substitutions) ([]path, error) {
	p, err := newParser("ProjectionExpression", source, s)
	if err != nil {
		return nil, err
	}
	var paths []path
	for {
		at, err := p.path()
		if err != nil {
			return nil, err
		}
		for _, other := range paths {
			n := min(len(at), len(other))
			if slices.Equal(at[:n], other[:n]) {
				return nil, p.invalid("Two document paths overlap with each other; must remove or rewrite one of these paths; "+
					"path one: %s, path two: %s", other, at)
			}
		}
		paths = append(paths, at)
		if !p.peek().isSymbol(",") {
			return paths, p.end()
		}
		p.next()
	}
}

// selection is a tree of the paths to keep; a leaf keeps everything below it.
type selection struct {
	names   map[string]*selection
	indexes map[int]*selection
	leaf    bool
}

func newSelection() *selection {
	return &selection{names: map[string]*selection{}, indexes: map[int]*selection{}}
}

func (n *selection) add(at path) {
	if len(at) == 0 {
		n.leaf = true
		return
	}
	var child *selection
	if s := at[0]; s.list {
		child = n.indexes[s.index]
		if child == nil {
			child = newSelection()
			n.indexes[s.index] = child
		}
	} else {
		child = n.names[s.name]
		if child == nil {
			child = newSelection()
			n.names[s.name] = child
		}
	}
	child.add(at[1:])
}

// project returns only what the paths name; no paths means everything.
func project(i item, paths []path) item {
	if paths == nil || i == nil {
		return i
	}
	root := newSelection()
	for _, at := range paths {
		root.add(at)
	}
	return root.keepNames(i)
}

func (n *selection) keepNames(m map[string]types.AttributeValue) map[string]types.AttributeValue {
	out := map[string]types.AttributeValue{}
	for name, child := range n.names {
		if v, ok := m[name]; ok {
			if kept, ok := child.keep(v); ok {
				out[name] = kept
			}
		}
	}
	return out
}

// keep returns what of a value is selected; ok is false if nothing is. A list closes its gaps.
func (n *selection) keep(v types.AttributeValue) (kept types.AttributeValue, ok bool) {
	if n.leaf {
		return v, true
	}
	switch v := v.(type) {
	case *types.AttributeValueMemberM:
		m := n.keepNames(v.Value)
		return &types.AttributeValueMemberM{Value: m}, len(m) > 0
	case *types.AttributeValueMemberL:
		var list []types.AttributeValue
		for index, e := range v.Value {
			if child := n.indexes[index]; child != nil {
				if kept, ok := child.keep(e); ok {
					list = append(list, kept)
				}
			}
		}
		return &types.AttributeValueMemberL{Value: list}, len(list) > 0
	}
	return nil, false
}
