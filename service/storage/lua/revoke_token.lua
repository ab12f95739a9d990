-- Revoke a token, unless no other admin token would be left in force.
--
-- KEYS  1 tokens, a hash of JSON  2 times of their last use, a hash with the same fields
-- ARGV  1 field  2 id that is expected there  3 '1' to keep the last admin token
--       4 now (RFC 3339)  5 what is kept in its place, '' for nothing
-- Gives 1 if it was revoked (or is not there any more), 0 if it is the last admin token.

local function token_of(json)
  local is_read, token = pcall(cjson.decode, json)
  return is_read and type(token) == 'table' and token or {}
end

local function is_revoked(token) return (token.revoked or '') ~= '' end

local function is_admin(token)
  local scope, expires = token.scope, token.expires
  return type(scope) == 'string' and string.find(' ' .. scope .. ' ', ' admin ', 1, true)
    and not is_revoked(token) and (expires == '' or type(expires) == 'string' and expires > ARGV[4])
end

local json = redis.call('HGET', KEYS[1], ARGV[1])
local token = json and token_of(json) or {}
if token.id ~= ARGV[2] or is_revoked(token) then return 1 end

if ARGV[3] == '1' and is_admin(token) then
  local is_last = true
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    if fields[i] ~= ARGV[1] and is_admin(token_of(fields[i + 1])) then is_last = false end
  end
  if is_last then return 0 end
end

redis.call('HDEL', KEYS[2], ARGV[1])
if ARGV[5] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[5])
end
return 1
