-- prompts.sql: where each row's prompt came from.
-- In: the set's rows as `audited`. Out: one row per row, in order; NULL: unknown. kinds: those of its constraints.
SELECT a.row, q.source, q.licence, list_sort(list_distinct(list_transform(q.constraints, lambda c: c.id))) AS kinds
FROM audited AS a
LEFT JOIN prompts AS q USING (prompt_id)
ORDER BY a.row;
