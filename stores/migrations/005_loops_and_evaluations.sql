-- 005_loops_and_evaluations.sql: loops, their steps, checks and evaluations; what a run is for, what a training started from.
-- In: the temporary views of read_4.sql.
ALTER TABLE lake.models ADD COLUMN chat_template_hash VARCHAR;
CREATE TABLE lake.new_runs (
  run_event_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  attempt BIGINT NOT NULL,
  status VARCHAR NOT NULL,
  reason VARCHAR,
  recipe_name VARCHAR NOT NULL,
  purpose VARCHAR NOT NULL,
  recipe VARCHAR NOT NULL,
  recipe_hash VARCHAR NOT NULL,
  templates MAP(VARCHAR, VARCHAR) NOT NULL,
  pairings MAP(VARCHAR, VARCHAR) NOT NULL,
  parameters VARCHAR NOT NULL,
  seed BIGINT NOT NULL,
  iteration BIGINT NOT NULL,
  parent_run_id VARCHAR,
  code_version VARCHAR NOT NULL,
  package_versions MAP(VARCHAR, VARCHAR) NOT NULL,
  started_at TIMESTAMPTZ NOT NULL,
  ended_at TIMESTAMPTZ
);
CREATE TABLE lake.new_training_sets (
  training_set_id VARCHAR NOT NULL,
  name VARCHAR NOT NULL,
  version BIGINT NOT NULL,
  snapshot BIGINT NOT NULL,
  sql VARCHAR NOT NULL,
  views VARCHAR,
  parameters VARCHAR NOT NULL,
  format VARCHAR NOT NULL,
  chat_template_hashes VARCHAR[] NOT NULL,
  audit VARCHAR,
  train_rows BIGINT NOT NULL,
  held_out_rows BIGINT NOT NULL,
  fingerprint VARCHAR NOT NULL,
  created_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE lake.new_training_runs (
  training_run_id VARCHAR NOT NULL,
  training_set_id VARCHAR NOT NULL,
  objective VARCHAR NOT NULL,
  base_model VARCHAR NOT NULL,
  base_weights_sha256 VARCHAR NOT NULL,
  start_model_id VARCHAR,
  reference_model_id VARCHAR,
  chat_template_hash VARCHAR,
  status VARCHAR NOT NULL,
  reason VARCHAR,
  configuration VARCHAR NOT NULL,
  package_versions MAP(VARCHAR, VARCHAR) NOT NULL,
  seed BIGINT NOT NULL,
  hardware VARCHAR NOT NULL,
  loss_curve DOUBLE[] NOT NULL,
  metrics VARCHAR NOT NULL,
  weights_sha256 VARCHAR,
  output VARCHAR,
  started_at TIMESTAMPTZ NOT NULL,
  ended_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE lake.new_evaluations (
  evaluation_id VARCHAR NOT NULL,
  run_id VARCHAR,
  model_id VARCHAR NOT NULL,
  role VARCHAR,
  other_model_id VARCHAR,
  benchmark VARCHAR NOT NULL,
  metric VARCHAR NOT NULL,
  value DOUBLE,
  low DOUBLE,
  high DOUBLE,
  p_value DOUBLE,
  examples BIGINT NOT NULL,
  prompts_hash VARCHAR NOT NULL,
  checkers_hash VARCHAR,
  judge_model_id VARCHAR,
  settings VARCHAR NOT NULL,
  seed BIGINT,
  recorded_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE lake.checks (
  check_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  prompt_id VARCHAR NOT NULL,
  response_id VARCHAR NOT NULL,
  position BIGINT NOT NULL,
  constraint_id VARCHAR NOT NULL,
  followed BOOLEAN NOT NULL,
  followed_loosely BOOLEAN NOT NULL
);
CREATE TABLE lake.loops (
  loop_event_id VARCHAR NOT NULL,
  loop_id VARCHAR NOT NULL,
  attempt BIGINT NOT NULL,
  status VARCHAR NOT NULL,
  reason VARCHAR,
  settings VARCHAR NOT NULL,
  forked_from VARCHAR,
  forked_round BIGINT,
  started_at TIMESTAMPTZ NOT NULL,
  ended_at TIMESTAMPTZ
);
CREATE TABLE lake.loop_steps (
  step_id VARCHAR NOT NULL,
  loop_id VARCHAR NOT NULL,
  round BIGINT NOT NULL,
  step VARCHAR NOT NULL,
  role VARCHAR,
  run_id VARCHAR,
  training_set_id VARCHAR,
  training_run_id VARCHAR,
  model_id VARCHAR,
  shared_from VARCHAR,
  note VARCHAR,
  seconds DOUBLE NOT NULL,
  recorded_at TIMESTAMPTZ NOT NULL
);
INSERT INTO lake.new_runs BY NAME FROM runs;
INSERT INTO lake.new_training_sets BY NAME FROM training_sets;
INSERT INTO lake.new_training_runs BY NAME FROM training_runs;
INSERT INTO lake.new_evaluations BY NAME FROM evaluations;
DROP TABLE lake.runs;
ALTER TABLE lake.new_runs RENAME TO runs;
DROP TABLE lake.training_sets;
ALTER TABLE lake.new_training_sets RENAME TO training_sets;
DROP TABLE lake.training_runs;
ALTER TABLE lake.new_training_runs RENAME TO training_runs;
DROP TABLE lake.evaluations;
ALTER TABLE lake.new_evaluations RENAME TO evaluations;
