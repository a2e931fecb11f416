-- read_4.sql: the tables that schema version 5 changed or added, shown in version 5's shape from version 4.
CREATE TEMP VIEW runs AS SELECT *, 'data' AS purpose FROM lake.runs;
CREATE TEMP VIEW models AS SELECT *, NULL::VARCHAR AS chat_template_hash FROM lake.models;
CREATE TEMP VIEW training_sets AS
SELECT *, []::VARCHAR[] AS chat_template_hashes, NULL::VARCHAR AS audit FROM lake.training_sets;
CREATE TEMP VIEW training_runs AS
SELECT *, NULL::VARCHAR AS start_model_id, NULL::VARCHAR AS reference_model_id, NULL::VARCHAR AS chat_template_hash,
  'finished' AS status, NULL::VARCHAR AS reason
FROM lake.training_runs;
-- Nothing wrote evaluations before version 5.
CREATE TEMP VIEW evaluations AS
SELECT evaluation_id, NULL::VARCHAR AS run_id, model_id, NULL::VARCHAR AS role, NULL::VARCHAR AS other_model_id, benchmark,
  metric, value::DOUBLE AS value, NULL::DOUBLE AS low, NULL::DOUBLE AS high, NULL::DOUBLE AS p_value, examples,
  '' AS prompts_hash, NULL::VARCHAR AS checkers_hash, NULL::VARCHAR AS judge_model_id, '{}' AS settings, seed, recorded_at
FROM lake.evaluations;
CREATE TEMP VIEW checks AS
SELECT '' AS check_id, '' AS run_id, '' AS prompt_id, '' AS response_id, 0::BIGINT AS position, '' AS constraint_id,
  false AS followed, false AS followed_loosely
WHERE false;
CREATE TEMP VIEW loops AS
SELECT '' AS loop_event_id, '' AS loop_id, 0::BIGINT AS attempt, '' AS status, NULL::VARCHAR AS reason, '' AS settings,
  NULL::VARCHAR AS forked_from, NULL::BIGINT AS forked_round, now() AS started_at, NULL::TIMESTAMPTZ AS ended_at
WHERE false;
CREATE TEMP VIEW loop_steps AS
SELECT '' AS step_id, '' AS loop_id, 0::BIGINT AS round, '' AS step, NULL::VARCHAR AS role, NULL::VARCHAR AS run_id,
  NULL::VARCHAR AS training_set_id, NULL::VARCHAR AS training_run_id, NULL::VARCHAR AS model_id,
  NULL::VARCHAR AS shared_from, NULL::VARCHAR AS note, 0.0::DOUBLE AS seconds, now() AS recorded_at
WHERE false;
