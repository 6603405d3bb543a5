package topology

// edge is a reference from one thing to another of the same sort, which must not lead back.
type edge struct {
	object   object
	field    string
	from, to string
}

func (p *parser) edge(o object, field, from, to string) {
	p.edges = append(p.edges, edge{object: o, field: field, from: from, to: to})
}

// findCycles reports each edge that lies on a circle.
func (p *parser) findCycles() {
	next := map[string][]string{}
	for _, e := range p.edges {
		next[e.from] = append(next[e.from], e.to)
	}
	for _, e := range p.edges {
		if leads(next, e.to, e.from, map[string]bool{}) {
			e.object.problem(e.field, "leads back to itself", "break the circle of references")
		}
	}
}

func leads(next map[string][]string, from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	for _, n := range next[from] {
		if leads(next, n, to, seen) {
			return true
		}
	}
	return false
}
