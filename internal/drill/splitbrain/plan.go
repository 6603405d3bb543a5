package splitbrain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// maxTables bounds the tables that are attacked in one round.
const maxTables = 6

// maxCopied bounds the rows of one copy.
const maxCopied = 50

// plan makes one writing statement per protected table: a copy of rows that are there, under new keys. Where a key
// can't be renewed (all of it refers to another table) a row is updated to what it was.
func plan(ctx context.Context, conn *pgx.Conn) (statements []string, recovering bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&recovering); err != nil {
		return nil, false, err
	}
	tables, err := describe(ctx, conn)
	if err != nil {
		return nil, recovering, err
	}
	for _, t := range tables {
		if len(statements) == maxTables {
			break
		}
		if statement := t.statement(); statement != "" {
			statements = append(statements, statement)
		}
	}
	return statements, recovering, nil
}

// table is one protected table. All names are quoted as SQL wants them.
type table struct {
	name    string
	columns []tableColumn
	// keys are the unique indexes, as places in columns.
	keys [][]int
}

type tableColumn struct {
	name, typ string
	// reference: part of a foreign key; generated: the server fills it in.
	reference, generated bool
}

// describe reads the protected tables' columns and keys from the catalogue.
func describe(ctx context.Context, conn *pgx.Conn) ([]table, error) {
	rows, err := conn.Query(ctx, `
		SELECT p.relation::text, quote_ident(a.attname), format_type(a.atttypid, NULL),
			EXISTS (SELECT FROM pg_constraint AS c WHERE c.conrelid = p.relation AND c.contype = 'f' AND a.attnum = ANY (c.conkey)),
			a.attgenerated <> '' OR a.attidentity <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false),
			(SELECT coalesce(string_agg(i.indexrelid::text, ' ' ORDER BY NOT i.indisprimary, i.indexrelid), '') FROM pg_index AS i
				WHERE i.indrelid = p.relation AND i.indisunique AND a.attnum = ANY (i.indkey::int2[]))
		FROM holdfast.protected_tables AS p
		JOIN pg_attribute AS a ON a.attrelid = p.relation AND a.attnum > 0 AND NOT a.attisdropped
		LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		ORDER BY p.table_name <> 'payments', p.relation::text, a.attnum`)
	if err != nil {
		return nil, fmt.Errorf("describe the protected tables: %w", err)
	}
	var tables []table
	places := map[string]int{} // of an index in its table's keys
	var name, indexes string
	var c tableColumn
	_, err = pgx.ForEachRow(rows, []any{&name, &c.name, &c.typ, &c.reference, &c.generated, &indexes}, func() error {
		if n := len(tables); n == 0 || tables[n-1].name != name {
			tables = append(tables, table{name: name})
		}
		t := &tables[len(tables)-1]
		for _, index := range strings.Fields(indexes) {
			place, known := places[index]
			if !known {
				place = len(t.keys)
				places[index] = place
				t.keys = append(t.keys, nil)
			}
			t.keys[place] = append(t.keys[place], len(t.columns))
		}
		t.columns = append(t.columns, c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("describe the protected tables: %w", err)
	}
	return tables, nil
}

// renewed chooses, for every key, one column that gets a new value; false if a key has none.
func (t table) renewed() (places []int, ok bool) {
	for _, key := range t.keys {
		chosen := -1
		for _, place := range key {
			c := t.columns[place]
			if slices.Contains(places, place) || c.generated {
				chosen = place
				break
			}
			if chosen < 0 && !c.reference && fresh(c.typ) != "" {
				chosen = place
			}
		}
		if chosen < 0 {
			return nil, false
		}
		if !t.columns[chosen].generated && !slices.Contains(places, chosen) {
			places = append(places, chosen)
		}
	}
	return places, true
}

// statement is the write, or empty for a table without columns. A copy takes all rows that share the first renewed
// column with some row, and gives them the same new value: entries that must balance stay together.
func (t table) statement() string {
	places, ok := t.renewed()
	if !ok || len(t.columns) == 0 {
		return t.update()
	}
	var into, from, values, where []string
	for place, c := range t.columns {
		if c.generated {
			continue
		}
		value := "t." + c.name
		if i := slices.Index(places, place); i >= 0 {
			value = fmt.Sprintf("k.f%d", i)
			values = append(values, fmt.Sprintf("%s AS f%d", fresh(c.typ), i))
		}
		into, from = append(into, c.name), append(from, value)
	}
	if len(into) == 0 {
		return t.update()
	}
	source := t.name + " AS t"
	if len(places) > 0 {
		source += ", (SELECT " + strings.Join(values, ", ") + ") AS k"
		first := t.columns[places[0]].name
		where = append(where, fmt.Sprintf("WHERE t.%s = (SELECT %s FROM %s LIMIT 1)", first, first, t.name))
	}
	limit := maxCopied
	if len(places) > 1 {
		limit = 1 // the same new value in several rows would break the second key
	}
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s %s LIMIT %d",
		t.name, strings.Join(into, ", "), strings.Join(from, ", "), source, strings.Join(where, " "), limit)
}

func (t table) update() string {
	for _, c := range t.columns {
		if !c.generated {
			return fmt.Sprintf("UPDATE %s SET %s = %s WHERE ctid = (SELECT ctid FROM %s LIMIT 1)", t.name, c.name, c.name, t.name)
		}
	}
	return ""
}

// fresh is an SQL expression for a value that no row has yet, or empty if the type has none.
func fresh(typ string) string {
	switch typ {
	case "uuid":
		return "gen_random_uuid()"
	case "text", "character varying":
		return "'" + Mark + "' || gen_random_uuid()::text"
	case "bigint", "numeric":
		return "(4000000000000000000 + floor(random() * 1000000000000000))::bigint"
	case "integer":
		return "(1000000000 + floor(random() * 1000000000))::int"
	case "bytea":
		return "decode(md5(random()::text), 'hex')"
	}
	return ""
}
