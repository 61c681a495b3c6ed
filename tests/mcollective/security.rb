# The real security plugins of MCollective: one JSON line in, one out. Arguments: CONFIG, client|node.
require 'json'
require 'yaml'

# MCollective 2.12 passes safe_load's lists by position; Psych 4 takes them as keywords only.
module PositionalSafeLoad
  def safe_load(yaml, *positional, **keywords)
    keywords[:permitted_classes] = positional[0] if positional[0]
    super(yaml, **keywords)
  end
end
Psych.singleton_class.prepend(PositionalSafeLoad)

require 'mcollective'
include MCollective

config = Config.instance
config.loadconfig(ARGV[0])
plugin = PluginManager['security_plugin']
plugin.initiated_by = ARGV[1].to_sym

def symbols(value)
  case value
  when Hash then value.to_h { |k, v| [k.start_with?(':') ? k[1..].to_sym : k, symbols(v)] }
  when Array then value.map { |one| symbols(one) }
  else value
  end
end

def texts(value)
  case value
  when Hash then value.to_h { |k, v| [k.is_a?(Symbol) ? ":#{k}" : k, texts(v)] }
  when Array then value.map { |one| texts(one) }
  when Symbol then ":#{value}"
  else value
  end
end

$stdout.sync = true
$stdin.each_line do |line|
  ask = JSON.parse(line)
  begin
    answer =
      case ask['do']
      when 'request'
        raw = plugin.encoderequest(config.identity, symbols(ask['body']), ask['id'],
                                   symbols(ask['filter']), ask['agent'], 'mcollective', ask['ttl'])
        { payload: raw.unpack1('H*') }
      when 'reply'
        raw = plugin.encodereply(ask['agent'], symbols(ask['body']), ask['id'], ask['callerid'])
        { payload: raw.unpack1('H*') }
      when 'open'
        message = Message.new([ask['payload']].pack('H*'), nil)
        if ask['expected']
          message.type = :reply
          message.expected_msgid = ask['expected']
        end
        opened = plugin.decodemsg(message)
        unless plugin.initiated_by == :client || plugin.valid_callerid?(opened[:callerid])
          raise 'not a valid callerid'
        end
        { opened: texts(opened.reject { |k, _| %i[hash sslkey sslpubkey].include?(k) }) }
      end
  rescue Exception => e
    answer = { error: "#{e.class}: #{e.message}".dup.force_encoding('UTF-8').scrub }
  end
  puts JSON.generate(answer)
end
