package splitbrain

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// maxTables bounds the tables that are attacked in one round.
const maxTables = 6

// plan makes one writing statement per protected table: a copy of a row that is there, under new keys. Where a key
// can't be renewed by itself (it refers to another table) the row is updated to what it was.
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

type table struct {
	name    string
	columns []tableColumn
}

type tableColumn struct {
	name, typ string
	// unique: part of a unique index; reference: part of a foreign key; generated: the server fills it in.
	unique, reference, generated bool
}

// describe reads the protected tables' columns from the catalogue.
func describe(ctx context.Context, conn *pgx.Conn) ([]table, error) {
	rows, err := conn.Query(ctx, `
		SELECT p.relation::text, quote_ident(a.attname), format_type(a.atttypid, NULL),
			EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = p.relation AND i.indisunique AND a.attnum = ANY (i.indkey::int2[])),
			EXISTS (SELECT FROM pg_constraint AS c WHERE c.conrelid = p.relation AND c.contype = 'f' AND a.attnum = ANY (c.conkey)),
			a.attgenerated <> '' OR a.attidentity <> ''
				OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false)
		FROM holdfast.protected_tables AS p
		JOIN pg_attribute AS a ON a.attrelid = p.relation AND a.attnum > 0 AND NOT a.attisdropped
		LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		ORDER BY p.relation::text <> 'payments', p.relation::text, a.attnum`)
	if err != nil {
		return nil, fmt.Errorf("describe the protected tables: %w", err)
	}
	var tables []table
	var name string
	var c tableColumn
	_, err = pgx.ForEachRow(rows, []any{&name, &c.name, &c.typ, &c.unique, &c.reference, &c.generated}, func() error {
		if n := len(tables); n == 0 || tables[n-1].name != name {
			tables = append(tables, table{name: name})
		}
		t := &tables[len(tables)-1]
		t.columns = append(t.columns, c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("describe the protected tables: %w", err)
	}
	return tables, nil
}

// statement is the write, or empty for a table without columns.
func (t table) statement() string {
	var into, from []string
	renewed := true
	for _, c := range t.columns {
		if c.generated {
			continue
		}
		value := c.name
		if c.unique && !c.reference {
			if value = fresh(c.typ); value == "" {
				renewed = false
			}
		}
		into, from = append(into, c.name), append(from, value)
	}
	if !t.hasFreshKey() {
		renewed = false
	}
	switch {
	case len(t.columns) == 0:
		return ""
	case renewed && len(into) > 0:
		return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s LIMIT 1", t.name, strings.Join(into, ", "), strings.Join(from, ", "), t.name)
	}
	return t.update()
}

// hasFreshKey: no unique column, or at least one that is renewed or filled in by the server.
func (t table) hasFreshKey() bool {
	keyed := false
	for _, c := range t.columns {
		if c.unique && (c.generated || !c.reference) {
			return true
		}
		keyed = keyed || c.unique
	}
	return !keyed
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
		return "'split-brain-' || gen_random_uuid()::text"
	case "bigint", "numeric":
		return "(4000000000000000000 + floor(random() * 1000000000000000))::bigint"
	case "integer":
		return "(1000000000 + floor(random() * 1000000000))::int"
	case "bytea":
		return "decode(md5(random()::text), 'hex')"
	}
	return ""
}
