-- The simulator's XML reader: what it must refuse, what it must understand, and where it says things are.
-- LuaJIT only, as the whole server side.
if not rawget(_G, "jit") then return end

local support = require("spec.support")
local xml = require("certrotate.simulator.xml")

describe("the simulator's XML reader", function()
  for _, text in ipairs({
    "", "   ", "text", "<a>", "</a>", "<a></b>", "<a/><b/>", "<a/>x", "x<a/>", "<a>&unknown;</a>", "<a>&amp</a>", "<a>&#0;</a>",
    "<a>&#xD800;</a>",
    "<a>&#99999999999;</a>",
    "<a b=1/>", "<a b/>", "<a b='1' b='2'/>",
    "<a b='<'/>", "<a b='&x;'/>", "<a b='1'c='2'/>",
    "<a b='1/>",
    "<p:a/>", "<a><p:b/></a>", "<a xmlns:p='u'><b/></a><p:c/>", "<a>]]></a>", "<a><![CDATA[x]]</a>", "<a><!-- -- --></a>",
    "<a><!-- </a>", "<a><?x </a>",
    "<a><?xml version='1.0'?></a>", "<!DOCTYPE a><a/>", "<a><!DOCTYPE b></a>", "<![CDATA[x]]><a/>",
    "<a>\1</a>",
    "<a>\0</a>",
    "<1a/>", "< a/>", "<a / >", "<a:b:c xmlns:a='u'/>", "<?xml version='1.0' encoding='ISO-8859-1'?><a/>",
    ("<a>"):rep(70) .. ("</a>"):rep(70),
  }) do
    it("refuses " .. ("%q"):format(text:sub(1, 50)), function()
      local root, message, position = xml.parse(text)
      assert.is_nil(root)
      assert.is_string(message)
      assert.is_number(position)
    end)
  end

  it("resolves text, CDATA, references and namespaces", function()
    local text = "<?xml version=\"1.0\" encoding='UTF-8'?>\n<!-- a --><?b c?>\n<p:r xmlns:p='urn:p' xmlns=\"urn:d\" "
      .. "x='1 &lt; 2' ><c>a&amp;<![CDATA[<&]]>&#x20AC;&#33;</c ><p:c xmlns:p='urn:q'/><e xmlns=''\n/></p:r>\n<!-- z -->"
    local root = assert(xml.parse(text))
    assert.same({ "r", "urn:p", "p:r" }, { root.name, root.uri, root.tag })
    assert.same({ "c", "urn:d", "a&<&\226\130\172!" }, { root[1].name, root[1].uri, root[1].text })
    assert.equal("urn:q", root[2].uri)
    assert.equal("", root[3].uri)
    assert.equal("<c>a&amp;<![CDATA[<&]]>&#x20AC;&#33;</c >", text:sub(root[1].first, root[1].last))
    assert.equal("a&amp;<![CDATA[<&]]>&#x20AC;&#33;", text:sub(root[1].inner, root[1].inner_last))
    assert.equal("<e xmlns=''\n/>", text:sub(root[3].first, root[3].last))
  end)

  it("reads back what it writes, whatever the text", function()
    local seed = support.seed()
    math.randomseed(seed)
    local function build(depth)
      local node = { name = "n" .. math.random(9), text = "" }
      if depth > 0 and math.random() < 0.7 then
        for index = 1, math.random(4) do node[index] = build(depth - 1) end
      else
        for _ = 1, math.random(0, 6) do
          node.text = node.text .. ({ "<", "&", ">", '"', "'", "]]>", "a", " ", "\226\130\172", "\n" })[math.random(10)]
        end
      end
      return node
    end
    local function same(one, two)
      assert.equal(one.name, two.name, "seed " .. seed)
      assert.equal(#one, #two, "seed " .. seed)
      if #one == 0 then assert.equal(one.text, two.text, "seed " .. seed) end
      for index = 1, #one do same(one[index], two[index]) end
    end
    for _ = 1, 200 do
      local tree, out = build(5), {}
      xml.write(tree, out)
      same(tree, assert(xml.parse(table.concat(out))))
    end
  end)

  it("never accepts a document with a piece cut out of its tags", function()
    local text = "<a><b x='1'>t</b></a>"
    for position = 1, #text do
      local character = text:sub(position, position)
      if character == "<" or character == ">" or character == "'" then
        assert.is_nil((xml.parse(text:sub(1, position - 1) .. text:sub(position + 1))), position)
      end
    end
  end)
end)
