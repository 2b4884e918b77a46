--- certrotate retire: deletes the old certificate once every fact allows it.
local accounts = require("certrotate.cli.accounts")
local cli = require("certrotate.cli")
local context_module = require("certrotate.cli.context")

local M = { summary = "Delete the old certificate once nothing uses it. Looks only, unless --yes." }

function M.configure(command)
  command:argument("journal", "The journal of the finished rotation: a file, or s3://[PROFILE@]BUCKET/NAME.")
  context_module.session_flags(command)
  accounts.flag(command)
  command:option("--keep", "Time to keep it after the rotation ended (default 24h).")
  command:flag("-y --yes", "Delete it, if every fact holds.")
end

local function text_of(result)
  local lines = {}
  for _, fact in ipairs(result.facts or {}) do
    lines[#lines + 1] = ("%s %s: %s"):format(fact.holds and "yes" or "NO ", fact.fact, fact.evidence)
  end
  return table.concat(lines, "\n") .. (#lines > 0 and "\n" or "")
end

local function all_hold(facts)
  for _, fact in ipairs(facts) do
    if not fact.holds then return false end
  end
  return true
end

-- A result as scripts get it.
local function document(result)
  return { deleted = result.deleted or false, already_gone = result.already_gone, reference = result.reference,
           facts = require("certrotate.json").array(result.facts or {}) }
end

-- What it is worth in one account of many.
local function code_of(result)
  if result.already_gone then return cli.NOTHING end
  return (result.deleted or all_hold(result.facts or {})) and cli.DONE or cli.REFUSED
end

function M.run(context, args)
  local keep = context:duration(args.keep, "--keep")
  if accounts.wanted(args) then
    return accounts.retire(context, args, keep, { text = text_of, plain = document, code = code_of })
  end
  local aws, err = context:connect(args)
  if not aws then return nil, err end
  local retire = require("certrotate.rotation.retire")
  local facts
  facts, err = retire.run(aws, { journal = args.journal, keep = keep, dry_run = true })
  if not facts then return nil, err end
  context:tell(text_of(facts))
  local json = require("certrotate.json")
  facts.facts = json.array(facts.facts or {})
  if facts.already_gone then
    context:result({ deleted = false, already_gone = true, reference = facts.reference, facts = facts.facts },
      ("%s is already gone.\n"):format(facts.reference))
    return cli.NOTHING
  end
  if not all_hold(facts.facts) then
    context:result({ deleted = false, reference = facts.reference, facts = facts.facts },
      ("%s is not deleted: not every fact holds.\n"):format(facts.reference))
    return cli.REFUSED
  end
  if not context:confirmed(args, ("Delete %s?"):format(facts.reference)) then
    context:result({ deleted = false, reference = facts.reference, facts = facts.facts },
      "Every fact holds. Nothing was deleted: pass --yes to delete it.\n")
    return cli.DONE
  end
  local ok
  ok, err = context:guard()
  if not ok then return nil, err end
  local result
  result, err = retire.run(aws, { journal = args.journal, keep = keep })
  if not result then return nil, err end
  context:result({ deleted = result.deleted, already_gone = result.already_gone, reference = result.reference,
                   facts = result.facts }, ("%s is deleted.\n"):format(result.reference))
  return cli.DONE
end

return M
