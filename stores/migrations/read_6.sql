-- read_6.sql: the tables that schema version 7 changed or added, shown in version 7's shape from version 6.
CREATE TEMP VIEW judgements AS SELECT *, NULL::VARCHAR AS item_id, NULL::DOUBLE AS weight FROM lake.judgements;
CREATE TEMP VIEW documents AS
SELECT '' AS document_id, '' AS source, NULL::VARCHAR AS title, '' AS text, '' AS sha256,
  NULL::VARCHAR AS licence
WHERE false;
CREATE TEMP VIEW claims AS
SELECT '' AS claim_id, '' AS run_id, '' AS prompt_id, '' AS response_id, '' AS stage, 0::BIGINT AS position,
  '' AS text, NULL::VARCHAR AS question, '' AS method, NULL::DOUBLE AS support,
  []::STRUCT(document_id VARCHAR, text VARCHAR, weight DOUBLE)[] AS evidence, NULL::VARCHAR AS model_id,
  []::VARCHAR[] AS call_ids
WHERE false;
CREATE TEMP VIEW checklist_items AS
SELECT '' AS item_id, '' AS run_id, '' AS prompt_id, '' AS stage, 0::BIGINT AS position, '' AS text,
  0.0::DOUBLE AS weight, NULL::VARCHAR AS call_id
WHERE false;
CREATE TEMP VIEW meta_judgements AS
SELECT '' AS meta_judgement_id, '' AS run_id, '' AS prompt_id, '' AS response_id, '' AS stage,
  '' AS first_judgement_id, '' AS second_judgement_id, NULL::DOUBLE AS probability, []::VARCHAR[] AS votes,
  []::VARCHAR[] AS rationales, '' AS model_id, '' AS template_hash, '' AS call_id
WHERE false;
