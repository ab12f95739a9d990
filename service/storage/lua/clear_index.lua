-- Delete the index of a view: its pages have no articles then.
--
-- KEYS  1 articles  2 versions  3 withdrawn articles  4 changes of pages
-- ARGV  1 path  2 PAGE_CHANGES_MAX
-- Returns the number of its pages that there were.

local periods = redis.call('HKEYS', KEYS[2])
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
if #periods > 0 then note_changes(KEYS[4], ARGV[2], {ARGV[1], table.concat(periods, ' ')}) end
return #periods
