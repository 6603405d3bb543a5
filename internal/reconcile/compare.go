package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// The kinds of a line.
const (
	// Missing: the survivor has no row with this key.
	Missing = "missing"
	// Different: the survivor has it with other contents.
	Different = "different"
)

// Line is one row of the tail.
type Line struct {
	Table    string          `json:"table"`
	Kind     string          `json:"kind"`
	Key      json.RawMessage `json:"key"`
	Old      json.RawMessage `json:"old"`
	Survivor json.RawMessage `json:"survivor,omitempty"`
}

// relation is a protected table as the old database describes it.
type relation struct {
	schema, name string
	// key are the primary key's columns with their types as SQL writes them; empty if there is none.
	key     []column
	columns []string
	// whole: there is no key, so the text of the whole row stands in for one.
	whole bool
}

type column struct{ name, typ string }

func (r relation) qualified() string { return r.schema + "." + r.name }
func (r relation) sql() string       { return pgx.Identifier{r.schema, r.name}.Sanitize() }

// comparison is one export at work: a reading transaction in each database.
type comparison struct {
	old, survivor pgx.Tx
	batchRows     int
	summary       *Summary
	folder        string
}

// render makes both databases write equal values alike, whatever the roles' own settings are.
const render = "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'; " +
	"SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL lock_timeout = '10s'"

// begin starts a reading transaction: one snapshot of the old database, the survivor as it goes on.
func begin(ctx context.Context, conn *pgx.Conn, isolation pgx.TxIsoLevel) (pgx.Tx, error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: isolation, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, render); err != nil {
		_ = tx.Rollback(context.WithoutCancel(ctx))
		return nil, err
	}
	return tx, nil
}

// compareAll compares every protected table.
func (o Options) compareAll(ctx context.Context, s *Summary, folder string) error {
	old, err := begin(ctx, o.Old, pgx.RepeatableRead)
	if err != nil {
		return fmt.Errorf("begin to read the old database: %w", err)
	}
	defer old.Rollback(context.WithoutCancel(ctx)) // it only read
	survivor, err := begin(ctx, o.Survivor, pgx.ReadCommitted)
	if err != nil {
		return fmt.Errorf("begin to read the surviving database: %w", err)
	}
	defer survivor.Rollback(context.WithoutCancel(ctx))
	c := comparison{old: old, survivor: survivor, batchRows: o.BatchRows, summary: s, folder: folder}
	relations, err := protected(ctx, old)
	if err != nil {
		return err
	}
	for _, r := range relations {
		t, err := c.table(ctx, r)
		if err != nil {
			return fmt.Errorf("table %s: %w", r.qualified(), err)
		}
		s.Tables = append(s.Tables, t)
		s.Missing += t.Missing
		s.Different += t.Different
		o.Logger.Info("compared a table with the survivor", "table", t.Name, "compared", t.Compared, "missing", t.Missing, "different", t.Different)
	}
	return nil
}

// protected lists the protected tables with their primary keys and columns.
func protected(ctx context.Context, tx pgx.Tx) ([]relation, error) {
	rows, err := tx.Query(ctx, `
		SELECT p.schema_name::text, p.table_name::text,
			coalesce((SELECT array_agg(a.attname::text ORDER BY k.place)
				FROM pg_index AS i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place), pg_attribute AS a
				WHERE i.indrelid = p.relation AND i.indisprimary AND a.attrelid = p.relation AND a.attnum = k.attnum), '{}'),
			coalesce((SELECT array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY k.place)
				FROM pg_index AS i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place), pg_attribute AS a
				WHERE i.indrelid = p.relation AND i.indisprimary AND a.attrelid = p.relation AND a.attnum = k.attnum), '{}'),
			(SELECT array_agg(a.attname::text ORDER BY a.attnum)
				FROM pg_attribute AS a WHERE a.attrelid = p.relation AND a.attnum > 0 AND NOT a.attisdropped)
		FROM holdfast.protected_tables AS p
		ORDER BY 1, 2`)
	if err != nil {
		return nil, fmt.Errorf("list the protected tables: %w", err)
	}
	var relations []relation
	var r relation
	var names, types []string
	_, err = pgx.ForEachRow(rows, []any{&r.schema, &r.name, &names, &types, &r.columns}, func() error {
		next := relation{schema: r.schema, name: r.name, columns: slices.Clone(r.columns)}
		for i := range names {
			next.key = append(next.key, column{names[i], types[i]})
		}
		if len(next.key) == 0 {
			// Rows without a key can only be compared as a whole.
			next.whole, next.key = true, []column{{name: "row", typ: "text"}}
		}
		relations = append(relations, next)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the protected tables: %w", err)
	}
	return relations, nil
}

// candidate is a row of the old database; key holds its primary key's columns as text.
type candidate struct {
	key  []string
	body []byte
}

// table compares one table and writes its file.
func (c comparison) table(ctx context.Context, r relation) (Table, error) {
	common, err := commonColumns(ctx, c.survivor, r)
	if err != nil {
		return Table{}, err
	}
	t := Table{Name: r.qualified(), KeyIsWholeRow: r.whole, Key: []string{}}
	if !r.whole {
		for _, k := range r.key {
			t.Key = append(t.Key, k.name)
		}
	}
	file, err := createLines(c.folder, t.Name)
	if err != nil {
		return Table{}, err
	}
	defer file.discard()
	var after []string
	for {
		batch, err := r.candidates(ctx, c.old, c.summary.Since, after, c.batchRows)
		if err != nil {
			return Table{}, err
		}
		t.Compared += len(batch)
		if err := c.batch(ctx, r, common, batch, file, &t); err != nil {
			return Table{}, err
		}
		if len(batch) < c.batchRows {
			break
		}
		after = batch[len(batch)-1].key
	}
	t.File, t.SHA256, err = file.finish()
	return t, err
}

// keySQL are the key's columns as SQL expressions over the table t.
func (r relation) keySQL() []string {
	if r.whole {
		return []string{"to_jsonb(t)::text"}
	}
	expressions := make([]string, len(r.key))
	for i, c := range r.key {
		expressions[i] = "t." + pgx.Identifier{c.name}.Sanitize()
	}
	return expressions
}

// candidates returns the next rows in key order that the old database may have alone.
func (r relation) candidates(ctx context.Context, tx pgx.Tx, since *time.Time, after []string, limit int) ([]candidate, error) {
	key := r.keySQL()
	args := []any{limit}
	var where []string
	if since != nil {
		args = append(args, *since)
		// Frozen and older rows have no timestamp any more, and are common history.
		where = append(where, fmt.Sprintf("CASE WHEN t.xmin::text::bigint > 2 THEN pg_xact_commit_timestamp(t.xmin) > $%d END", len(args)))
	}
	if after != nil {
		var places []string
		for i, c := range r.key {
			args = append(args, after[i])
			places = append(places, fmt.Sprintf("$%d::text::%s", len(args), c.typ))
		}
		where = append(where, fmt.Sprintf("(%s) > (%s)", strings.Join(key, ", "), strings.Join(places, ", ")))
	}
	sql := fmt.Sprintf("SELECT ARRAY[%s], to_jsonb(t)::text FROM %s AS t", asText(key), r.sql())
	if len(where) > 0 {
		sql += " WHERE " + strings.Join(where, " AND ")
	}
	sql += " ORDER BY " + strings.Join(key, ", ") + " LIMIT $1"
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read the old database: %w", err)
	}
	var batch []candidate
	var c candidate
	_, err = pgx.ForEachRow(rows, []any{&c.key, &c.body}, func() error {
		batch = append(batch, candidate{key: slices.Clone(c.key), body: slices.Clone(c.body)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the old database: %w", err)
	}
	return batch, nil
}

func asText(expressions []string) string {
	texts := make([]string, len(expressions))
	for i, e := range expressions {
		texts[i] = "(" + e + ")::text"
	}
	return strings.Join(texts, ", ")
}

// batch looks the rows' keys up in the survivor and writes a line for each difference.
func (c comparison) batch(ctx context.Context, r relation, common []string, rows []candidate, file *lines, t *Table) error {
	theirs, err := c.lookup(ctx, r, common, rows)
	if err != nil {
		return err
	}
	for _, row := range rows {
		line := Line{Table: t.Name, Kind: Missing, Old: row.body}
		found, ok := theirs[strings.Join(row.key, "\x00")]
		if ok {
			same, err := equalOn(common, row.body, found)
			if err != nil {
				return err
			}
			if same {
				continue
			}
			line.Kind, line.Survivor = Different, found
		}
		if line.Key, err = r.keyObject(row); err != nil {
			return err
		}
		if line.Kind == Missing {
			t.Missing++
		} else {
			t.Different++
		}
		if err := file.write(line); err != nil {
			return err
		}
	}
	return nil
}

// lookup returns the survivor's rows with the batch's keys, by key.
func (c comparison) lookup(ctx context.Context, r relation, common []string, batch []candidate) (map[string][]byte, error) {
	found := map[string][]byte{}
	if len(common) == 0 || len(batch) == 0 {
		return found, nil // no such table in the survivor, or nothing to look for
	}
	key := r.keySQL()
	args := make([]any, len(r.key))
	var arrays []string
	for i, k := range r.key {
		values := make([]string, len(batch))
		for j := range batch {
			values[j] = batch[j].key[i]
		}
		args[i] = values
		arrays = append(arrays, fmt.Sprintf("$%d::text[]::%s[]", i+1, k.typ))
	}
	sql := fmt.Sprintf("SELECT ARRAY[%s], to_jsonb(t)::text FROM %s AS t WHERE (%s) IN (SELECT * FROM unnest(%s))",
		asText(key), r.sql(), strings.Join(key, ", "), strings.Join(arrays, ", "))
	// One round trip, not two: the survivor is in another region, and the old volume is not there for long.
	rows, err := c.survivor.Query(ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("read the surviving database: %w", err)
	}
	var row candidate
	_, err = pgx.ForEachRow(rows, []any{&row.key, &row.body}, func() error {
		found[strings.Join(row.key, "\x00")] = slices.Clone(row.body)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the surviving database: %w", err)
	}
	return found, nil
}

// commonColumns are the old table's columns that the survivor's has too; empty if the survivor has no such table. A
// migration after the takeover may have added some, which is no difference between the rows.
func commonColumns(ctx context.Context, survivor pgx.Tx, r relation) ([]string, error) {
	var theirs []string
	err := survivor.QueryRow(ctx, `
		SELECT coalesce(array_agg(a.attname::text), '{}') FROM pg_attribute AS a
		JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped`, pgx.QueryExecModeExec, r.schema, r.name).Scan(&theirs)
	if err != nil {
		return nil, fmt.Errorf("describe the surviving database's table: %w", err)
	}
	var common []string
	for _, c := range r.columns {
		if slices.Contains(theirs, c) {
			common = append(common, c)
		}
	}
	return common, nil
}

// equalOn compares two rows on some columns. Both were rendered by jsonb, which writes equal values alike.
func equalOn(columns []string, a, b []byte) (bool, error) {
	if string(a) == string(b) {
		return true, nil
	}
	var left, right map[string]json.RawMessage
	if err := json.Unmarshal(a, &left); err != nil {
		return false, fmt.Errorf("read a row of the old database: %w", err)
	}
	if err := json.Unmarshal(b, &right); err != nil {
		return false, fmt.Errorf("read a row of the surviving database: %w", err)
	}
	for _, c := range columns {
		if string(left[c]) != string(right[c]) {
			return false, nil
		}
	}
	return true, nil
}

// keyObject is the key of a candidate as a JSON object, with the values as the row has them.
func (r relation) keyObject(c candidate) (json.RawMessage, error) {
	if r.whole {
		return json.RawMessage("null"), nil
	}
	var row map[string]json.RawMessage
	if err := json.Unmarshal(c.body, &row); err != nil {
		return nil, fmt.Errorf("read a row of the old database: %w", err)
	}
	key := map[string]json.RawMessage{}
	for _, k := range r.key {
		key[k.name] = row[k.name]
	}
	return json.Marshal(key)
}
