-- The place of the last that was sent to another history of the lane, under another identity. A history
-- that does not know the present one may have it decided.
ALTER TABLE tw_writers ADD COLUMN sent_elsewhere INTEGER NOT NULL DEFAULT 0;

-- Why a lane has another identity than the replica was not stored.
UPDATE tw_writers SET sent_elsewhere = sent_id WHERE client <> (SELECT client FROM tw_replica);
