-- 003_judges_by_name.sql: judges and stages by name, points, comparisons, log-probabilities, pairings; no stored views or macros.
-- In: the temporary views of read_2.sql.
CALL lake.set_option('parquet_row_group_size', '10240');
CALL lake.set_option('target_file_size', '128MB');
ALTER TABLE lake.training_sets ADD COLUMN views VARCHAR;
CREATE TABLE lake.new_runs (
  run_event_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  attempt BIGINT NOT NULL,
  status VARCHAR NOT NULL,
  reason VARCHAR,
  recipe_name VARCHAR NOT NULL,
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
CREATE TABLE lake.new_calls (
  call_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  request_hash VARCHAR NOT NULL,
  stage VARCHAR NOT NULL,
  role VARCHAR,
  prompt_id VARCHAR NOT NULL,
  response_ids VARCHAR[] NOT NULL,
  template VARCHAR,
  model_id VARCHAR NOT NULL,
  endpoint VARCHAR NOT NULL,
  messages_hash VARCHAR NOT NULL,
  parameters VARCHAR NOT NULL,
  seed BIGINT NOT NULL,
  choices BIGINT NOT NULL,
  prompt_tokens BIGINT,
  completion_tokens BIGINT,
  latency_s DOUBLE,
  retries BIGINT NOT NULL,
  finish_reasons VARCHAR[] NOT NULL,
  error VARCHAR,
  from_journal BOOLEAN NOT NULL,
  started_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE lake.new_responses (
  response_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  prompt_id VARCHAR NOT NULL,
  kind VARCHAR NOT NULL,
  text VARCHAR NOT NULL,
  stage VARCHAR,
  model_id VARCHAR,
  choice_index BIGINT,
  finish_reason VARCHAR,
  tokens BIGINT,
  logprobs VARCHAR,
  call_id VARCHAR
);
ALTER TABLE lake.new_responses SET SORTED BY (response_id);
CREATE TABLE lake.new_judgements (
  judgement_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  prompt_id VARCHAR NOT NULL,
  response_id VARCHAR NOT NULL,
  judge VARCHAR NOT NULL,
  kind VARCHAR NOT NULL,
  decides BOOLEAN NOT NULL,
  model_id VARCHAR,
  template_hash VARCHAR,
  vote BIGINT NOT NULL,
  verdict VARCHAR,
  points DOUBLE,
  value DOUBLE,
  pass_points DOUBLE,
  probabilities MAP(VARCHAR, DOUBLE),
  critique VARCHAR NOT NULL,
  call_id VARCHAR
);
ALTER TABLE lake.new_judgements SET SORTED BY (response_id);
CREATE TABLE lake.comparisons (
  comparison_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  prompt_id VARCHAR NOT NULL,
  stage VARCHAR NOT NULL,
  first_response_id VARCHAR NOT NULL,
  second_response_id VARCHAR NOT NULL,
  probability DOUBLE,
  votes VARCHAR[] NOT NULL,
  rationales VARCHAR[] NOT NULL,
  model_id VARCHAR NOT NULL,
  template_hash VARCHAR NOT NULL,
  call_id VARCHAR NOT NULL
);
CREATE TABLE lake.new_trees (
  tree_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  prompt_id VARCHAR NOT NULL,
  stage VARCHAR NOT NULL,
  root_response_id VARCHAR NOT NULL,
  strategy VARCHAR NOT NULL,
  parameters VARCHAR NOT NULL,
  outcome VARCHAR NOT NULL,
  nodes_expanded BIGINT NOT NULL,
  accepted_node_id VARCHAR,
  error VARCHAR
);
CREATE TABLE lake.new_pairs (
  pair_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  prompt_id VARCHAR NOT NULL,
  chosen_response_id VARCHAR NOT NULL,
  rejected_response_id VARCHAR NOT NULL,
  chosen_value DOUBLE,
  rejected_value DOUBLE,
  source VARCHAR NOT NULL,
  tree_id VARCHAR,
  node_id VARCHAR,
  similarity DOUBLE NOT NULL,
  length_ratio DOUBLE,
  shared_prefix_words BIGINT NOT NULL
);
INSERT INTO lake.new_runs BY NAME FROM runs;
INSERT INTO lake.new_calls BY NAME FROM calls;
INSERT INTO lake.new_responses BY NAME FROM responses;
INSERT INTO lake.new_judgements BY NAME FROM judgements;
INSERT INTO lake.new_trees BY NAME FROM trees;
INSERT INTO lake.new_pairs BY NAME FROM pairs;
DROP TABLE lake.runs;
ALTER TABLE lake.new_runs RENAME TO runs;
DROP TABLE lake.calls;
ALTER TABLE lake.new_calls RENAME TO calls;
DROP TABLE lake.responses;
ALTER TABLE lake.new_responses RENAME TO responses;
DROP TABLE lake.judgements;
ALTER TABLE lake.new_judgements RENAME TO judgements;
DROP TABLE lake.trees;
ALTER TABLE lake.new_trees RENAME TO trees;
DROP TABLE lake.pairs;
ALTER TABLE lake.new_pairs RENAME TO pairs;
DROP VIEW IF EXISTS lake.run_cost;
DROP VIEW IF EXISTS lake.run_progress;
DROP VIEW IF EXISTS lake.judge_agreement;
DROP VIEW IF EXISTS lake.accepted_pairs;
DROP VIEW IF EXISTS lake.tree_paths;
DROP VIEW IF EXISTS lake.call_messages;
DROP VIEW IF EXISTS lake.failed_prompts;
DROP VIEW IF EXISTS lake.failed_responses;
DROP VIEW IF EXISTS lake.verdicts;
DROP VIEW IF EXISTS lake.current_runs;
DROP MACRO IF EXISTS lake.refine_turns;
DROP MACRO IF EXISTS lake.split_of;
DROP MACRO IF EXISTS lake.assistant_turn;
DROP MACRO IF EXISTS lake.user_turn;
DROP MACRO IF EXISTS lake.render;
DROP MACRO IF EXISTS lake.conversation;
