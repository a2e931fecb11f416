-- 007_methods.sql: documents and claims, checklists, judgements of judgements.
-- In: nothing.
ALTER TABLE lake.judgements ADD COLUMN item_id VARCHAR;
ALTER TABLE lake.judgements ADD COLUMN weight DOUBLE;
CREATE TABLE lake.documents (
  document_id VARCHAR NOT NULL,
  source VARCHAR NOT NULL,
  title VARCHAR,
  text VARCHAR NOT NULL,
  sha256 VARCHAR NOT NULL,
  licence VARCHAR
);
CREATE TABLE lake.claims (
  claim_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  prompt_id VARCHAR NOT NULL,
  response_id VARCHAR NOT NULL,
  stage VARCHAR NOT NULL,
  position BIGINT NOT NULL,
  text VARCHAR NOT NULL,
  question VARCHAR,
  method VARCHAR NOT NULL,
  support DOUBLE,
  evidence STRUCT(document_id VARCHAR, text VARCHAR, weight DOUBLE)[] NOT NULL,
  model_id VARCHAR,
  call_ids VARCHAR[] NOT NULL
);
CREATE TABLE lake.checklist_items (
  item_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  prompt_id VARCHAR NOT NULL,
  stage VARCHAR NOT NULL,
  position BIGINT NOT NULL,
  text VARCHAR NOT NULL,
  weight DOUBLE NOT NULL,
  call_id VARCHAR
);
CREATE TABLE lake.meta_judgements (
  meta_judgement_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  prompt_id VARCHAR NOT NULL,
  response_id VARCHAR NOT NULL,
  stage VARCHAR NOT NULL,
  first_judgement_id VARCHAR NOT NULL,
  second_judgement_id VARCHAR NOT NULL,
  probability DOUBLE,
  votes VARCHAR[] NOT NULL,
  rationales VARCHAR[] NOT NULL,
  model_id VARCHAR NOT NULL,
  template_hash VARCHAR NOT NULL,
  call_id VARCHAR NOT NULL
);
