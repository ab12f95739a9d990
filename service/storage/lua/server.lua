-- Shared by claim.lua and finish.lua: which run of which server this is. A server that was started
-- again, or replaced by its replica, may have lost its newest writes. Returns '' where the user of the
-- connection may not ask.

local function server_run()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
end
