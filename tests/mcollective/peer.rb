# One JSON line in, one out: loads and dumps with the real Marshal and Psych, as MCollective does.
# Values travel in a form of their own, so that neither codec is used to test the other.
require 'json'
require 'yaml'

def describe(value)
  case value
  when nil then ['nil']
  when true then ['true']
  when false then ['false']
  when Integer then ['int', value.to_s]
  when Float then ['float', [value].pack('G').unpack1('H*')]
  when Symbol then ['symbol', value.to_s.unpack1('H*')]
  when Regexp then ['regexp', value.source.unpack1('H*'), value.options & 7]
  when Array then ['array', value.map { |one| describe(one) }]
  when Hash then ['hash', value.map { |pair| pair.map { |one| describe(one) } }]
  when String
    [value.encoding == Encoding::ASCII_8BIT ? 'bytes' : 'text', value.unpack1('H*')]
  else raise "an object: #{value.class}"
  end
end

def build(form)
  kind, content, more = form
  case kind
  when 'nil' then nil
  when 'true' then true
  when 'false' then false
  when 'int' then content.to_i
  when 'float' then [content].pack('H*').unpack1('G')
  when 'symbol' then [content].pack('H*').force_encoding('UTF-8').to_sym
  when 'regexp' then Regexp.new([content].pack('H*').force_encoding('UTF-8'), more)
  when 'array' then content.map { |one| build(one) }
  when 'hash' then content.map { |pair| pair.map { |one| build(one) } }.to_h
  when 'text' then [content].pack('H*').force_encoding('UTF-8')
  when 'bytes' then [content].pack('H*')
  end
end

def answer(ask)
  case ask['do']
  when 'load'
    body = [ask['body']].pack('H*')
    if ask['form'] == 'marshal'
      { value: describe(Marshal.load(body)) }
    else
      body.force_encoding('UTF-8')
      { value: describe(YAML.safe_load(body, permitted_classes: [Symbol, Regexp])) }
    end
  when 'dump'
    value = build(ask['value'])
    body = ask['form'] == 'marshal' ? Marshal.dump(value) : YAML.dump(value)
    { body: body.unpack1('H*') }
  when 'eval'
    value = eval(ask['code'])
    body = ask['form'] == 'yaml' ? YAML.dump(value) : Marshal.dump(value)
    { body: body.unpack1('H*') }
  when 'ruby'
    { value: describe(eval(ask['code'])) }
  end
rescue Exception => e
  { error: "#{e.class}: #{e.message}".dup.force_encoding('UTF-8').scrub }
end

$stdout.sync = true
$stdin.each_line { |line| puts JSON.generate(answer(JSON.parse(line))) }
