-- overview_sets.sql: the training sets, each with its query.
SELECT name || '@' || version AS training_set, format, train_rows, held_out_rows, sql
FROM training_sets
ORDER BY name, version;
