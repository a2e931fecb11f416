-- lake_sets.sql: the lake's training sets, newest first. In: nothing. Out: one row per set.
SELECT training_set_id FROM training_sets ORDER BY created_at DESC, training_set_id;
