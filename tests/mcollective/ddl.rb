# MCollective's own DDL classes: text in, what they understood out. Argument: CONFIG.
require 'json'
require 'mcollective'
include MCollective

config = Config.instance
config.loadconfig(ARGV[0])
config.mode = :client
MCollective::DDL.load_and_cache('rpcutil', :agent)

def form(value)
  case value
  when Symbol then { 'symbol' => value.to_s }
  when Regexp then { 'regexp' => value.source, 'options' => value.options & 7 }
  when Hash then value.to_h { |k, v| [k.to_s, form(v)] }
  when Array then value.map { |one| form(one) }
  else value
  end
end

# What a file prints is no answer.
answers = $stdout.dup
answers.sync = true
$stdout.reopen($stderr)
$stdin.each_line do |line|
  ask = JSON.parse(line)
  begin
    type = ask['type']
    file = { 'agent' => 'AgentDDL', 'data' => 'DataDDL', 'discovery' => 'DiscoveryDDL' }.fetch(type, 'Base')
    ddl = MCollective::DDL.const_get(file).new(ask['name'], type, false)
    ddl.instance_eval(ask['text'], 'test.ddl', 1)
    answer = { meta: form(ddl.meta), entities: form(ddl.entities),
               requirements: form(ddl.requirements), usage: ddl.instance_variable_get(:@usage) }
  rescue Exception => e
    answer = { error: "#{e.class}: #{e.message}".dup.force_encoding('UTF-8').scrub }
  end
  answers.puts JSON.generate(answer)
end
