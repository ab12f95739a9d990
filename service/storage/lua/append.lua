-- Keep articles and put their events on the stream, all or nothing, and once however often the
-- same call is sent (clients resend after a lost reply).
--
-- KEYS  1 stream  2 dirty  3 categories  4… article, one for each article of the call
-- ARGV  1 now (RFC 3339)  2 now (ms)  3 call id  4 '1' to bring withdrawn articles back
--       5 number of category titles t, then t pairs: path, title
--       then for each article 7: id, form, content hash, doc, doc as it is kept (compressed),
--       published, updated ('' if unknown)
-- Gives for each article {status, revision, event id}; status: created | updated | unchanged.
--
-- All reads come before the first write: a wrong type fails the call with nothing written.
--
-- `head` of an article, JSON: revision, hash, published, updated, first_seen, status, event, call,
-- said: the `updated` that its source last gave, quiet: changes since without a later one,
-- and forms: the content hash last seen in each form. A form is compared with the same form seen
-- before, so that a site's list, feed and page of one article do not overwrite each other in turn.

local now, now_ms, call, revive = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local titles = tonumber(ARGV[5])
local first = 5 + 2 * titles

local function earlier(a, b) if a < b then return a end return b end

local function known_richer(forms, form)
  for seen, _ in pairs(forms) do
    if tonumber(seen) > tonumber(form) then return true end
  end
  return false
end

-- Pages with a clock, a counter or an advertisement in the text never stop changing: after so many
-- changes without a new date of the source, no more become events. A record (form 2) is somebody's word.
local MAX_QUIET = 24

local function is_quiet(head, form, updated)
  return form ~= '2' and (updated == '' or updated <= (head.said or ''))
end

-- created | updated | unchanged | noted (unchanged, but this form is new to us)
local function judge(head, form, hash, updated)
  if not head then return 'created' end
  if head.status == 'withdrawn' then
    if revive then return 'updated' end
    return 'unchanged'
  end
  local seen = head.forms[form]
  if seen == hash then return 'unchanged' end
  if head.hash == hash then return 'noted' end
  if known_richer(head.forms, form) and (not seen or form == '0') then return 'noted' end
  if is_quiet(head, form, updated) and (head.quiet or 0) >= MAX_QUIET then return 'noted' end
  return 'updated'
end

local function revise(head, form, published, updated)
  if not head then
    local said = updated
    published = published ~= '' and earlier(published, now) or now
    updated = updated ~= '' and earlier(updated, now) or published
    return {
      revision = 1, published = published, updated = updated, first_seen = now, said = said,
      forms = {},
    }
  end
  head.quiet = is_quiet(head, form, updated) and (head.quiet or 0) + 1 or nil
  if updated > (head.said or '') then head.said = updated end
  head.revision = head.revision + 1
  if published ~= '' then head.published = earlier(published, head.first_seen) end
  head.updated = updated > head.updated and earlier(updated, now) or now
  return head
end

local heads = {}
redis.call('XLEN', KEYS[1])
redis.call('ZCARD', KEYS[2])
redis.call('HLEN', KEYS[3])
for i = 4, #KEYS do
  local stored = redis.call('HGET', KEYS[i], 'head')
  heads[i] = stored and cjson.decode(stored) or nil
end

for i = 6, first, 2 do redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 1]) end

local answers = {}
for i = 4, #KEYS do
  local at = first + (i - 4) * 7
  local id, form, hash, doc = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local published, updated = ARGV[at + 6], ARGV[at + 7]
  local head = heads[i]
  local status
  if head and head.call == call then
    status = head.revision == 1 and 'created' or 'updated'
  else
    status = judge(head, form, hash, updated)
    if status == 'created' or status == 'updated' then
      head = revise(head, form, published, updated)
      head.hash, head.status, head.call = hash, 'live', call
      head.forms[form] = hash
      emit(KEYS[1], status == 'created' and 'published' or 'updated', id, doc, head, now)
      redis.call('HSET', KEYS[i], 'doc', ARGV[at + 5], 'head', cjson.encode(head))
      redis.call('ZADD', KEYS[2], now_ms, id)
    elseif status == 'noted' then
      head.forms[form] = hash
      redis.call('HSET', KEYS[i], 'head', cjson.encode(head))
      status = 'unchanged'
    end
  end
  answers[#answers + 1] = {status, head.revision, head.event}
end
return answers
