-- Shared by claim.lua, finish.lua and release.lua: reads what is known of a host (keys.py, SOURCES_HOSTS).

-- Returns it as new if it cannot be read: one host must not stop the polls of all others.
local function read_host(key, name)
  local is_json, host = pcall(cjson.decode, redis.call('HGET', key, name) or '')
  if not is_json or type(host) ~= 'table' then return {n = 0, f = {}} end
  if type(host.n) ~= 'number' or type(host.f) ~= 'table' then return {n = 0, f = {}} end
  for id, until_ms in pairs(host.f) do
    if type(id) ~= 'string' or type(until_ms) ~= 'number' then return {n = 0, f = {}} end
  end
  return host
end

